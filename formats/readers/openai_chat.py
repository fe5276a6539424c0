"""OpenAI's chat messages, and what is written like them: fine-tuning files, logs of agents."""

from typing import Final

from msgspec import UNSET, Raw

from formats.drafts import Draft, Memory, function_call, parts_output, text_output
from formats.parts import File, Opaque, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from formats.problems import NotReadable
from formats.raws import (
    Fields,
    fields_of,
    is_list,
    is_null,
    is_object,
    items_of,
    raw_of,
    string,
    text_of,
)

NAME: Final = "openai-chat"
PROVIDER: Final = "openai"
_RESULTS: Final = ("tool", "function")
_THOUGHTS: Final = ("reasoning_content", "reasoning")
"""Where other vendors put what their models think."""

_DATA: Final = "data:"


def read(raw: Raw, memory: Memory) -> Draft:
    """One message. Raises `NotReadable`."""
    fields = fields_of(raw, "a message")
    role = string(fields, "role")
    said = _content(fields.get("content"))
    name = text_of(fields.get("name"))
    if role in _RESULTS:
        return Draft(role, [_result(fields, said, name, memory)])
    parts: list[Part] = [
        Reasoning(text=thought)
        for field in _THOUGHTS
        if (thought := text_of(fields.get(field))) is not None
    ]
    calls = _calls(fields, memory)
    parts += [part for part in said if not (calls and part == Text(text=""))]
    if (refusal := text_of(fields.get("refusal"))) is not None:
        parts.append(Refusal(text=refusal))
    return Draft(role, parts + calls, {} if name is None else {"name": name})


def _content(raw: Raw | None) -> list[Part]:
    if raw is None or is_null(raw):
        return []
    if (text := text_of(raw)) is not None:
        return [Text(text=text)]
    if not is_list(raw):
        raise NotReadable("`content` has to be a string, a list of parts, or null")
    return [_part(one) for one in items_of(raw)]


def _part(raw: Raw) -> Part:
    fields = fields_of(raw, "a part of `content`")
    kind = string(fields, "type")
    match kind:
        case "text":
            return Text(text=string(fields, "text"))
        case "refusal":
            return Refusal(text=string(fields, "refusal"))
        case "image_url" if (image := _image(fields)) is not None:
            return image
        case "input_audio" if (audio := _audio(fields)) is not None:
            return audio
        case "file" if (file := _file(fields)) is not None:
            return file
        case _:
            return Opaque(provider=PROVIDER, kind=kind, value=raw)


def _image(fields: Fields) -> File | None:
    image = fields_of(fields["image_url"]) if is_object(fields.get("image_url", Raw())) else {}
    if (url := text_of(image.get("url"))) is None:
        return None
    detail = text_of(image.get("detail"))
    return File(media_type=media_type_of(url, "image/*"), url=url, detail=detail or UNSET)


def _audio(fields: Fields) -> File | None:
    audio = fields_of(fields["input_audio"]) if "input_audio" in fields else {}
    data, kind = text_of(audio.get("data")), text_of(audio.get("format"))
    if data is None or kind not in ("wav", "mp3"):
        return None
    return File(media_type="audio/wav" if kind == "wav" else "audio/mpeg", data=data)


def _file(fields: Fields) -> File | None:
    file = fields_of(fields["file"]) if "file" in fields else {}
    filename = text_of(file.get("filename")) or UNSET
    if (url := text_of(file.get("file_data"))) is not None and url.startswith(_DATA):
        kind = media_type_of(url, "application/octet-stream")
        return File(media_type=kind, url=url, filename=filename)
    if (file_id := text_of(file.get("file_id"))) is not None:
        return own_file("application/octet-stream", file_id, PROVIDER)
    return None


def own_file(media_type: str, file_id: str, provider: str) -> File:
    """A file that only its provider knows."""
    return File(media_type=media_type, file_id=file_id, provider_metadata={provider: raw_of({})})


def media_type_of(url: str, otherwise: str) -> str:
    """What a data URL says of itself."""
    if not url.startswith(_DATA):
        return otherwise
    return url[len(_DATA) :].partition(",")[0].partition(";")[0] or otherwise


def _calls(fields: Fields, memory: Memory) -> list[Part]:
    calls: list[Part] = []
    listed = fields.get("tool_calls")
    if listed is not None and not is_null(listed):
        calls += [_call(fields_of(raw, "a tool call"), memory) for raw in items_of(listed)]
    old = fields.get("function_call")
    if old is not None and not is_null(old):
        calls.append(_function(fields_of(old, "`function_call`"), memory.new_call_id()))
    return calls


def _call(fields: Fields, memory: Memory) -> ToolCall:
    call_id = text_of(fields.get("id")) or memory.new_call_id()
    if "custom" in fields:
        custom = fields_of(fields["custom"], "`custom`")
        text = string(custom, "input")
        return ToolCall(call_id=call_id, name=string(custom, "name"), input_raw=text, kind="custom")
    return _function(fields_of(fields.get("function", Raw(b"null")), "`function`"), call_id)


def _function(function: Fields, call_id: str) -> ToolCall:
    arguments = function.get("arguments")
    text = text_of(arguments)
    return function_call(call_id, string(function, "name"), arguments if text is None else text)


def _result(fields: Fields, said: list[Part], name: str | None, memory: Memory) -> ToolResult:
    """A list `tool_call_ids` is how some agents write the one id."""
    call_id = text_of(fields.get("tool_call_id"))
    if call_id is None and (several := fields.get("tool_call_ids")) is not None:
        call_id = next((text for raw in items_of(several) if (text := text_of(raw))), None)
    match said:
        case []:
            output = text_output("")
        case [Text(text=text)]:
            output = text_output(text)
        case _:
            output = parts_output(said)
    return ToolResult(call_id=call_id or memory.awaited(), name=name or UNSET, output=output)

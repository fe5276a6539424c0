"""The items of OpenAI's Responses, a message each."""

from typing import Final

from msgspec import UNSET, Raw, UnsetType

from formats.drafts import Draft, Memory, function_call, parts_output, text_output
from formats.parts import (
    File,
    Opaque,
    Output,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from formats.problems import NotReadable
from formats.raws import Fields, fields_of, is_list, is_text, items_of, raw_of, string, text_of
from formats.readers.openai_chat import media_type_of, own_file

NAME: Final = "openai-responses"
PROVIDER: Final = "openai"
CALL: Final = "_call"
OUTPUT: Final = "_output"
_MODEL: Final = "assistant"
_TEXTS: Final = ("text", "input_text", "output_text")
_KEPT_ON_CALLS: Final = ("namespace", "caller", "async")


def read(raw: Raw, memory: Memory) -> Draft:
    """One item. Raises `NotReadable`."""
    fields = fields_of(raw, "an item")
    kind = text_of(fields.get("type")) or "message"
    if kind == "message":
        role = string(fields, "role")
        parts = _content(fields)
        return Draft(role, parts, memory.group(of_the_model=role == _MODEL))
    if kind.endswith(OUTPUT) and (result := _result(fields, memory)) is not None:
        return Draft("tool", [result], memory.group(of_the_model=False))
    return Draft(_MODEL, [_of_the_model(raw, fields, kind)], memory.group(of_the_model=True))


def _of_the_model(raw: Raw, fields: Fields, kind: str) -> Part:
    match kind:
        case "reasoning":
            return _reasoning(fields)
        case "function_call":
            text = text_of(fields.get("arguments"))
            call_id, name = string(fields, "call_id"), string(fields, "name")
            call = function_call(call_id, name, text, _id(fields))
            kept = {key: fields[key] for key in _KEPT_ON_CALLS if key in fields}
            call.provider_metadata = {PROVIDER: raw_of(kept)} if kept else UNSET
            return call
        case "custom_tool_call":
            return ToolCall(
                call_id=string(fields, "call_id"),
                name=string(fields, "name"),
                input_raw=string(fields, "input"),
                kind="custom",
                id=_id(fields),
            )
        case _ if kind.endswith(CALL) and text_of(fields.get("call_id")):
            rest = {k: v for k, v in fields.items() if k not in ("type", "id", "call_id", "status")}
            return ToolCall(
                call_id=string(fields, "call_id"),
                name=kind.removesuffix(CALL),
                input=raw_of(rest),
                kind=kind,
            )
        case _:
            return Opaque(provider=PROVIDER, kind=kind, value=raw)


def _reasoning(fields: Fields) -> Reasoning:
    def texts(name: str) -> list[str]:
        listed = fields.get(name)
        if listed is None or not is_list(listed):
            return []
        return [string(fields_of(one), "text") for one in items_of(listed)]

    thought = texts("content")
    return Reasoning(
        id=_id(fields),
        text="\n\n".join(thought) if thought else None,
        summary=texts("summary"),
        encrypted=text_of(fields.get("encrypted_content")) or UNSET,
        provider=PROVIDER,
    )


def _result(fields: Fields, memory: Memory) -> ToolResult | None:
    output = fields.get("output")
    if output is None:
        return None
    call_id = text_of(fields.get("call_id")) or f"result-{memory.number}"
    return ToolResult(call_id=call_id, output=_output(output))


def _output(raw: Raw) -> Output:
    if (text := text_of(raw)) is not None:
        return text_output(text)
    if is_list(raw) and not is_text(raw):
        parts = [_part(one, UNSET, UNSET) for one in items_of(raw)]
        if all(isinstance(part, Text | File) for part in parts):
            return parts_output(parts)
    return Output("json", raw)


def _content(fields: Fields) -> list[Part]:
    content = fields.get("content", Raw(b"null"))
    item_id = _id(fields)
    phase = fields.get("phase")
    more = UNSET if phase is None else {PROVIDER: raw_of({"phase": phase})}
    if (text := text_of(content)) is not None:
        return [Text(text=text, id=item_id, provider_metadata=more)]
    if not is_list(content):
        raise NotReadable("`content` has to be a string or a list of parts")
    return [_part(one, item_id, more) for one in items_of(content)]


def _part(raw: Raw, item_id: str | UnsetType, more: dict[str, Raw] | UnsetType) -> Part:
    fields = fields_of(raw, "a part of `content`")
    kind = string(fields, "type")
    match kind:
        case _ if kind in _TEXTS:
            return Text(text=string(fields, "text"), id=item_id, provider_metadata=more)
        case "refusal":
            return Refusal(text=string(fields, "refusal"), id=item_id)
        case "input_image" if (image := _image(fields)) is not None:
            return image
        case "input_file" if (file := _file(fields)) is not None:
            return file
        case _:
            return Opaque(provider=PROVIDER, kind=kind, value=raw)


def _image(fields: Fields) -> File | None:
    if (url := text_of(fields.get("image_url"))) is not None:
        detail = text_of(fields.get("detail")) or UNSET
        return File(media_type=media_type_of(url, "image/*"), url=url, detail=detail)
    if (file_id := text_of(fields.get("file_id"))) is not None:
        return own_file("image/*", file_id, PROVIDER)
    return None


def _file(fields: Fields) -> File | None:
    filename = text_of(fields.get("filename")) or UNSET
    otherwise = "application/octet-stream"
    for name in ("file_data", "file_url"):
        if (url := text_of(fields.get(name))) is not None:
            kind = media_type_of(url, otherwise)
            return File(media_type=kind, url=url, filename=filename)
    if (file_id := text_of(fields.get("file_id"))) is not None:
        return own_file(otherwise, file_id, PROVIDER)
    return None


def _id(fields: Fields) -> str | UnsetType:
    return text_of(fields.get("id")) or UNSET

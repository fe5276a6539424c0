"""The events of OpenHands: what the agent does, and what it then observes."""

from typing import Final

from msgspec import Raw

from formats.drafts import Draft, Memory, function_call, text_output
from formats.parts import Data, File, Part, Text, ToolResult
from formats.problems import NotReadable
from formats.raws import Fields, fields_of, is_list, is_object, items_of, raw_of, text_of

NAME: Final = "openhands"
_AGENT: Final = "agent"
_ERROR: Final = "error"


def read(raw: Raw, memory: Memory) -> Draft:
    """One event. Raises `NotReadable`."""
    fields = fields_of(raw, "an event")
    called = _object(fields.get("tool_call_metadata"))
    call_id = text_of(called.get("tool_call_id"))
    action, observed = text_of(fields.get("action")), text_of(fields.get("observation"))
    if observed is not None:
        if call_id is not None:
            return Draft("tool", [_result(fields, call_id, called, observed)])
        if observed == _ERROR:
            return Draft("user", [Text(text=text_of(fields.get("content")) or "")])
        return _beside(fields, observed)
    if action is None:
        raise NotReadable("an event has to have an `action` or an `observation`")
    if call_id is not None:
        return _call(fields, call_id, called, memory)
    return _said(fields, action)


def _said(fields: Fields, action: str) -> Draft:
    args = _object(fields.get("args"))
    text = text_of(args.get("content"))
    if action == "system" and text is not None:
        return Draft("system", [Text(text=text)])
    if action == "message" and text is not None:
        return Draft(_role(fields), [Text(text=text), *_images(args.get("image_urls"))])
    return _beside(fields, action)


def _images(listed: Raw | None) -> list[Part]:
    if listed is None or not is_list(listed):
        return []
    return [
        File(media_type="image/*", url=url) for raw in items_of(listed) if (url := text_of(raw))
    ]


def _beside(fields: Fields, what: str) -> Draft:
    """What no model was told; the source has all of it."""
    return Draft(_role(fields), [Data(name=f"{NAME}-{what}", data=raw_of(None))])


def _role(fields: Fields) -> str:
    return "assistant" if text_of(fields.get("source")) == _AGENT else "user"


def _call(fields: Fields, call_id: str, called: Fields, memory: Memory) -> Draft:
    """What the model said stands in every event of an answer with several calls; once is enough."""
    response = _object(called.get("model_response"))
    answer = text_of(response.get("id"))
    message = _answered(response)
    parts: list[Part] = []
    if answer is None or answer not in memory.seen:
        said = message if answer is not None else _object(fields.get("args"))
        text = text_of(said.get("content" if answer is not None else "thought"))
        parts += [Text(text=text)] if text else []
    if answer is not None:
        memory.seen.add(answer)
    name = text_of(called.get("function_name")) or text_of(fields.get("action")) or ""
    parts.append(function_call(call_id, name, _arguments(message, call_id, fields)))
    return Draft("assistant", parts, {} if answer is None else {"group": answer})


def _answered(response: Fields) -> Fields:
    choices = response.get("choices")
    if choices is None or not is_list(choices) or not (listed := items_of(choices)):
        return {}
    return _object(_object(listed[0]).get("message"))


def _arguments(message: Fields, call_id: str, fields: Fields) -> Raw | str | None:
    """As the model wrote them; else as the agent understood them."""
    calls = message.get("tool_calls")
    for raw in items_of(calls) if calls is not None and is_list(calls) else ():
        call = _object(raw)
        if text_of(call.get("id")) == call_id:
            return text_of(_object(call.get("function")).get("arguments"))
    return fields.get("args")


def _result(fields: Fields, call_id: str, called: Fields, observed: str) -> ToolResult:
    text = text_of(fields.get("content")) or ""
    result = ToolResult(call_id=call_id, output=text_output(text), is_error=observed == _ERROR)
    if (name := text_of(called.get("function_name"))) is not None:
        result.name = name
    return result


def _object(raw: Raw | None) -> Fields:
    return fields_of(raw) if raw is not None and is_object(raw) else {}

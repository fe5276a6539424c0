"""The items of OpenAI's Responses as messages, and back as they were."""

import json
from typing import Any, Final

from rewindow_client.batches import encoded
from rewindow_client.keeping import given_back, kept
from rewindow_client.shapes import Json, Message, NewMessage

KEPT: Final = "openai_item"
"""Under this name in a message's metadata stands what its parts do not say of the item."""

PROVIDER: Final = "openai"
ROLES: Final = ("user", "assistant", "system", "developer")
MODEL: Final = "assistant"
ANY_FILE: Final = "application/octet-stream"
RESULTS: Final = {"function": "function_call_output", "custom": "custom_tool_call_output"}
CALLS: Final = {"function": "function_call", "custom": "custom_tool_call"}


def message_of(item: Json) -> NewMessage:
    """The message that holds an item."""
    role, parts = _read(item)
    (made,) = _items(role, parts, listed=isinstance(item.get("content"), list))
    more = kept(parts, made, item)
    message: NewMessage = {"role": role, "parts": parts}
    if isinstance(item.get("content"), list):
        more |= {"listed": True, "parts": len(parts)}
    if more:
        message["metadata"] = {KEPT: more}
    return message


def items_of(message: Message) -> list[Json]:
    """The items in a message: one where it was made of one, else what its parts come to."""
    found = message.metadata.get(KEPT)
    listed = isinstance(found, dict) and found.get("listed") is True
    items = _items(message.role, message.parts, listed=listed)
    return [given_back(message.parts, items[0], found)] if len(items) == 1 else items


def is_whole(message: Message) -> bool:
    """Whether all parts of a message that was made of an item are there."""
    found = message.metadata.get(KEPT)
    return not isinstance(found, dict) or found.get("parts") in (None, len(message.parts))


def detached(items: list[Json]) -> list[Json]:
    """Items that stand behind other ones than when they were made: without results whose call is
    gone, and without reasoning and the names that tie items to it, which OpenAI refuses then."""
    called: set[str] = set()
    found = []
    for item in items:
        kind = item.get("type", "message")
        if kind in CALLS.values():
            called.add(str(item.get("call_id")))
        orphan = kind in RESULTS.values() and str(item.get("call_id")) not in called
        if kind == "reasoning" or orphan:
            continue
        tied = kind in (*CALLS.values(), "message")
        found.append({k: v for k, v in item.items() if k != "id"} if tied else item)
    return found


# -- items as parts --------------------------------------------------------------------------------


def _read(item: Json) -> tuple[str, list[Json]]:
    """Role and parts. What is not as it should be is kept as a whole."""
    kind = item.get("type", "message")
    try:
        match kind:
            case "message" if item["role"] in ROLES:
                return item["role"], _content(item["content"])
            case "function_call":
                return MODEL, [_call(item, _arguments(item["arguments"]))]
            case "custom_tool_call":
                return MODEL, [_call(item, {"input_raw": _text(item["input"]), "kind": "custom"})]
            case "function_call_output":
                return "tool", [_result(item)]
            case "custom_tool_call_output":
                return "tool", [_result(item) | {"kind": "custom"}]
            case "reasoning":
                return MODEL, [_reasoning(item)]
    except (KeyError, TypeError, _Unknown):
        pass
    role = item["role"] if item.get("role") in ROLES else MODEL
    return role, [{"type": "opaque", "provider": PROVIDER, "kind": str(kind), "value": item}]


class _Unknown(Exception):
    """There is no part for this."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unknown
    return value


def _content(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not content:
        raise _Unknown
    return [_piece(one) for one in content]


def _piece(piece: Json) -> Json:
    match piece:
        case {"type": "input_text" | "output_text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(text)}:
            return {"type": "refusal", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "file", "media_type": _media_type(url, "image/*"), "url": url}
        case {"type": "input_file", "file_data": str(url)} | {
            "type": "input_file",
            "file_url": str(url),
        }:
            return {"type": "file", "media_type": _media_type(url, ANY_FILE), "url": url}
        case _:
            raise _Unknown


def _media_type(url: str, otherwise: str) -> str:
    scheme, _, rest = url.partition(":")
    kind = rest.partition(";")[0].partition(",")[0]
    return kind if scheme == "data" and "/" in kind else otherwise


def _call(item: Json, given: Json) -> Json:
    call_id, name = _text(item["call_id"]), _text(item["name"])
    return {"type": "tool-call", "call_id": call_id, "name": name, **given}


def _arguments(text: Any) -> Json:
    """Parsed where they come back to the letter, else their text as well."""
    try:
        parsed = json.loads(_text(text))
        if not isinstance(parsed, dict):
            return {"input_raw": text}
        same = encoded(parsed).decode() == text
    except ValueError:
        return {"input_raw": text}
    return {"input": parsed} if same else {"input": parsed, "input_raw": text}


def _result(item: Json) -> Json:
    output = item["output"]
    if isinstance(output, str):
        value: Json = {"as": "text", "value": output}
    else:
        value = {"as": "parts", "value": _content(output)}
    return {"type": "tool-result", "call_id": _text(item["call_id"]), "output": value}


def _reasoning(item: Json) -> Json:
    part: Json = {"type": "reasoning", "provider": PROVIDER, "id": _text(item["id"])}
    part["summary"] = [_text(one["text"]) for one in item["summary"]]
    if item.get("encrypted_content"):
        part["encrypted"] = _text(item["encrypted_content"])
    return part


# -- parts as items --------------------------------------------------------------------------------


def _items(role: str, parts: list[Json], *, listed: bool) -> list[Json]:
    """Text and files that follow each other are one item, every other part is one of its own. What
    OpenAI has no word for is left out."""
    items: list[Json] = []
    said: list[Json] = []
    for part in parts:
        if (piece := _said(role, part)) is not None:
            said.append(piece)
        elif (item := _item(part)) is not None:
            items += _message(role, said, listed=listed)
            items.append(item)
            said = []
    return items + _message(role, said, listed=listed)


def _message(role: str, said: list[Json], *, listed: bool) -> list[Json]:
    if not said:
        return []
    speaker = role if role in ROLES else "user"
    if not listed and len(said) == 1 and "text" in said[0]:
        return [{"role": speaker, "content": said[0]["text"]}]
    message: Json = {"type": "message"} if speaker == MODEL else {}
    return [{**message, "role": speaker, "content": said}]


def _said(role: str, part: Json) -> Json | None:
    """What stands in the content of a message."""
    match part:
        case {"type": "text" | "summary", "text": str(text)} if role == MODEL:
            return {"type": "output_text", "text": text, "annotations": []}
        case {"type": "text" | "summary", "text": str(text)}:
            return {"type": "input_text", "text": text}
        case {"type": "refusal", "text": str(text)}:
            return {"type": "refusal", "refusal": text}
        case {"type": "file", "media_type": str(kind), "url": str(url)} if kind.startswith("image"):
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        case {"type": "file", "url": str(url)}:
            name = "file_data" if url.startswith("data:") else "file_url"
            return {"type": "input_file", name: url}
        case _:
            return None


def _item(part: Json) -> Json | None:
    match part:
        case {"type": "tool-call", "call_id": str(call_id), "name": str(name)}:
            kind = part.get("kind", "function")
            text = part["input_raw"] if "input_raw" in part else _compact(part.get("input", {}))
            field = "input" if kind == "custom" else "arguments"
            call = {"type": CALLS.get(kind, CALLS["function"]), "call_id": call_id, "name": name}
            return {**call, field: text}
        case {"type": "tool-result", "call_id": str(call_id), "output": dict(output)}:
            kind = RESULTS.get(part.get("kind", "function"), RESULTS["function"])
            return {"type": kind, "call_id": call_id, "output": _output(output)}
        case {"type": "reasoning", "provider": "openai", "id": str(name)}:
            summary = [{"type": "summary_text", "text": one} for one in part.get("summary", [])]
            item: Json = {"type": "reasoning", "id": name, "summary": summary}
            return item | ({"encrypted_content": part["encrypted"]} if "encrypted" in part else {})
        case {"type": "opaque", "provider": "openai", "value": dict(value)}:
            return value
        case _:
            return None


def _output(output: Json) -> Any:
    match output:
        case {"as": "text", "value": str(text)}:
            return text
        case {"as": "parts", "value": list(parts)}:
            return [piece for part in parts if (piece := _said("tool", part)) is not None]
        case _:
            return _compact(output.get("value"))


def _compact(value: Any) -> str:
    return encoded(value).decode()

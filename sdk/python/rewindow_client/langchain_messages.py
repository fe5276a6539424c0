"""The messages of LangChain, as its `message_to_dict` writes them, and back as they were."""

from typing import Any, Final

from rewindow_client.keeping import given_back, kept
from rewindow_client.shapes import Json, Message, NewMessage

KEPT: Final = "langchain_message"
"""Under this name in a message's metadata stands what its parts do not say of the message."""

PROVIDER: Final = "langchain"
ROLE_OF: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
TYPE_OF: Final = {"user": "human", "assistant": "ai", "system": "system", "developer": "system"}


def message_of(said: Json) -> NewMessage:
    """The message that holds one of LangChain's. Raises `ValueError` where it is an instruction to
    take one away."""
    kind, data = said["type"], said["data"]
    if kind == "remove":
        raise ValueError("a RemoveMessage is no message; use clear(), or undo of the context")
    role = str(data["role"] if kind == "chat" else ROLE_OF.get(kind, kind))
    parts = _result(data) if kind == "tool" else _content(data["content"]) + _calls(data)
    message: NewMessage = {"role": role, "parts": parts or [{"type": "text", "text": ""}]}
    if isinstance(data.get("id"), str):
        message["id"] = data["id"]
    listed = kind != "tool" and isinstance(data["content"], list)
    (made,) = _messages(role, message["parts"], message.get("id"), listed=listed)
    more = kept(message["parts"], made, said)
    if listed:
        more["listed"] = True
    if more:
        message["metadata"] = {KEPT: more}
    return message


def messages_of(message: Message) -> list[Json]:
    """LangChain's messages in a message: one where it was made of one, else what its parts come
    to."""
    found = message.metadata.get(KEPT)
    listed = isinstance(found, dict) and found.get("listed") is True
    made = _messages(message.role, message.parts, message.id, listed=listed)
    return [given_back(message.parts, made[0], found)] if len(made) == 1 else made


# -- messages as parts -----------------------------------------------------------------------------


def _content(content: str | list[Any]) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_block(block) for block in content]


def _block(block: Any) -> Json:
    match block:
        case str(text) | {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": str(kind)}:
            return {"type": "opaque", "provider": PROVIDER, "kind": kind, "value": block}
        case _:
            return {"type": "opaque", "provider": PROVIDER, "kind": "block", "value": block}


def _calls(data: Json) -> list[Json]:
    return [
        {
            "type": "tool-call",
            "call_id": call["id"] or "",
            "name": call["name"],
            "input": call["args"],
        }
        for call in data.get("tool_calls", ())
    ]


def _result(data: Json) -> list[Json]:
    content = data["content"]
    kind = "text" if isinstance(content, str) else "json"
    output = {"as": kind, "value": content}
    part = {"type": "tool-result", "call_id": data["tool_call_id"], "output": output}
    return [part | ({"is_error": True} if data.get("status") == "error" else {})]


# -- parts as messages -----------------------------------------------------------------------------


def _messages(role: str, parts: list[Json], name: str | None, *, listed: bool) -> list[Json]:
    """Every result of a tool is a message of its own; everything else is one together. What
    LangChain has no word for is left out."""
    blocks: list[Any] = []
    calls: list[Json] = []
    results: list[Json] = []
    for part in parts:
        match part:
            case {"type": "tool-result", "call_id": str(call_id), "output": dict(output)}:
                results.append(_tool(part, call_id, output, name))
            case {"type": "tool-call", "call_id": str(call_id), "name": str(tool)}:
                call = {"name": tool, "args": part.get("input", {}), "id": call_id}
                calls.append(call | {"type": "tool_call"})
            case {"type": "text" | "summary" | "refusal", "text": str(text)}:
                blocks.append({"type": "text", "text": text})
            case {"type": "opaque", "provider": "langchain", "value": value}:
                blocks.append(value)
    if not blocks and not calls and not listed:
        return results
    plain = not listed and all(one["type"] == "text" for one in blocks)
    content = "".join(one["text"] for one in blocks) if plain else blocks
    return [_spoken(role, content, calls, name), *results]


def _spoken(role: str, content: Any, calls: list[Json], name: str | None) -> Json:
    kind = TYPE_OF.get(role, "chat")
    data = _data(kind, content, name)
    if kind == "ai":
        data |= {"tool_calls": calls, "invalid_tool_calls": [], "usage_metadata": None}
    if kind == "chat":
        data["role"] = role
    return {"type": kind, "data": data}


def _tool(part: Json, call_id: str, output: Json, name: str | None) -> Json:
    data = _data("tool", output.get("value"), name)
    status = "error" if part.get("is_error") else "success"
    return {
        "type": "tool",
        "data": data | {"tool_call_id": call_id, "artifact": None, "status": status},
    }


def _data(kind: str, content: Any, name: str | None) -> Json:
    """As LangChain writes a message of which nothing else is known."""
    return {
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": kind,
        "name": None,
        "id": name,
    }

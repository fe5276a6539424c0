"""Which format something is written in, by its shape."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Raw, Struct

from formats.drafts import Draft, Memory
from formats.problems import NotReadable
from formats.raws import Fields, fields_of, is_list, is_object, items_of, text_of
from formats.readers import ai_sdk, anthropic, openai_chat, openai_responses, openhands, sharegpt

Read = Callable[[Raw, Memory], Draft]
Layout = Literal["conversations", "messages"]

SWE_AGENT: Final = "swe-agent"


class Format(Struct, frozen=True):
    """`lists`: where a conversation may keep its messages. `system`: what it says beside them."""

    name: str
    read: Read
    lists: tuple[str, ...]
    system: str | None = None


FORMATS: Final[dict[str, Format]] = {
    one.name: one
    for one in (
        Format(openai_chat.NAME, openai_chat.read, ("messages",)),
        Format(openai_responses.NAME, openai_responses.read, ("input", "items"), "instructions"),
        Format(anthropic.NAME, anthropic.read, ("messages",), "system"),
        Format(ai_sdk.NAME, ai_sdk.read, ("messages",)),
        Format(sharegpt.NAME, sharegpt.read, ("conversations",), "system"),
        Format(openhands.NAME, openhands.read, ("history", "events")),
        Format(SWE_AGENT, openai_chat.read, ("history",)),
    )
}
"""Everything that can be read. SWE-agent writes chat messages with a list of the one id."""

_LISTS: Final = tuple(dict.fromkeys(name for one in FORMATS.values() for name in one.lists))
_BLOCKS: Final = ("thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use")


class Shape(Struct, frozen=True):
    """`layout`: whether each value is a conversation, or a message of the only one."""

    format: Format
    layout: Layout


def recognise(values: Sequence[Raw], name: str | None = None) -> Shape:
    """The shape of the values at the beginning of a file. `name`: the format, where it is known.

    Raises `NotReadable`.
    """
    objects = [fields_of(raw) for raw in values if is_object(raw)]
    if not objects:
        raise NotReadable("it holds no JSON object, so it is no conversation")
    listed = [key for key in _LISTS if any(_has_list(fields, key) for fields in objects)]
    if name is not None:
        own = FORMATS[name]
        nested = any(_has_list(fields, key) for fields in objects for key in own.lists)
        return Shape(own, "conversations" if nested else "messages")
    if listed:
        found = _of_conversations(objects, listed)
        layout: Layout = "conversations"
    else:
        found = _of_messages(objects)
        layout = "messages"
    if found is None:
        raise NotReadable(
            "no format is known that looks like this; say with --format which one it is: "
            + ", ".join(FORMATS)
        )
    return Shape(FORMATS[found], layout)


def _of_conversations(objects: Sequence[Fields], listed: Sequence[str]) -> str | None:
    messages = [
        message
        for fields in objects
        for key in listed
        if _has_list(fields, key)
        for message in _objects_in(fields[key])
    ]
    if any("system" in fields or "stop_reason" in fields for fields in objects):
        found = _of_messages(messages)
        return anthropic.NAME if found == openai_chat.NAME else found
    if any("trajectory" in fields for fields in objects):
        return SWE_AGENT
    return _of_messages(messages)


def _of_messages(messages: Sequence[Fields]) -> str | None:
    """The first mark that only one format has decides."""
    for fields in messages:
        if (found := _mark(fields)) is not None:
            return found
    chats = any("role" in fields and "content" in fields for fields in messages)
    return openai_chat.NAME if chats else None


def _mark(fields: Fields) -> str | None:
    if "from" in fields and "value" in fields:
        return sharegpt.NAME
    if _has_list(fields, "parts") and "role" in fields:
        return ai_sdk.NAME
    if "role" not in fields and ("action" in fields or "observation" in fields):
        return openhands.NAME if "source" in fields else None
    if "tool_call_ids" in fields:
        return SWE_AGENT
    if text_of(fields.get("type")) is not None:
        return openai_responses.NAME
    if _has_list(fields, "content") and any(
        text_of(block.get("type")) in _BLOCKS for block in _objects_in(fields["content"])
    ):
        return anthropic.NAME
    return None


def _has_list(fields: Fields, key: str) -> bool:
    return key in fields and is_list(fields[key])


def _objects_in(raw: Raw) -> list[Fields]:
    return [fields_of(one) for one in items_of(raw) if is_object(one)]

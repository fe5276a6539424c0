"""Real chats as messages of ours, nothing lost: what a chat says comes back from `to_chat`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

OPENAI = "openai-chat-tool-calls.jsonl"
PLAY = "long-dialogue-don-carlos-german.jsonl"
NASTY = "nasty-unicode-blns.jsonl"


class Sample(NamedTuple):
    """What a file holds. A system's prompt that stands beside the messages is a message here."""

    format: str
    layout: str
    contexts: int
    messages: int


SAMPLES = {
    "aisdk-uimessages.json": Sample("ai-sdk", "conversations", 15, 42),
    "anthropic-messages-tool-use.jsonl": Sample("anthropic", "conversations", 16, 78),
    "long-dialogue-don-carlos-german.jsonl": Sample("openai-chat", "messages", 1, 1550),
    "nasty-unicode-blns.jsonl": Sample("openai-chat", "messages", 1, 1030),
    "openai-chat-tool-calls.jsonl": Sample("openai-chat", "conversations", 99, 2618),
    "openhands-events.jsonl": Sample("openhands", "messages", 1, 103),
    "sharegpt-toolcall-chinese.json": Sample("sharegpt", "conversations", 300, 1880),
    "swe-agent-function-calling.traj.json": Sample("swe-agent", "conversations", 1, 24),
}


_CONTENT_KINDS = {"tool": "tool_result"}


def to_message(chat: Json) -> Json:
    """One chat message. Its content and its calls become parts, what else it has is metadata."""
    more = dict(chat)
    role, content, calls = more.pop("role"), more.pop("content"), more.pop("tool_calls", None)
    parts: list[Json] = []
    if content is not None:
        parts.append({"type": _CONTENT_KINDS.get(role, "text"), "text": content})
    parts += [{"type": "tool_call", "call": call} for call in calls or ()]
    return {"role": role, "parts": parts} | ({"metadata": more} if more else {})


def to_chat(message: Json) -> Json:
    """What `to_message` was given."""
    texts = [part["text"] for part in message["parts"] if part["type"] != "tool_call"]
    calls = [part["call"] for part in message["parts"] if part["type"] == "tool_call"]
    chat = {"role": message["role"], "content": texts[0] if texts else None}
    if calls:
        chat["tool_calls"] = calls
    return chat | message.get("metadata", {})


def conversations(file: Path) -> Iterator[tuple[str, list[Json]]]:
    """Each conversation's name and its chat messages: one a line, or the whole file is one."""
    # Bytes: the texts hold what ends a line elsewhere, and nothing here may be translated.
    lines = [json.loads(line) for line in file.read_bytes().split(b"\n") if line]
    if "messages" in lines[0]:
        for line in lines:
            yield line["id"], line["messages"]
    else:
        yield file.stem, lines

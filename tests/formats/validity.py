"""What each provider refuses with 400, as assertions on what was rendered for it."""

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from formats.renderers.anthropic import IMAGES
from tests.support.histories import SECRET

Json = dict[str, Any]
NAME = re.compile("[a-zA-Z0-9_-]{1,64}")


def is_valid_for_all(rendered: Json) -> None:
    """Nothing that no model may see is on the wire."""
    assert SECRET not in json.dumps(rendered)


# -- OpenAI's chat ---------------------------------------------------------------------------------


def is_valid_chat(rendered: Json) -> None:
    """Calls are followed by their results, and nothing else is."""
    is_valid_for_all(rendered)
    messages = rendered["messages"]
    n = 0
    while n < len(messages):
        message = messages[n]
        n += 1
        assert message["role"] in ("system", "developer", "user", "assistant")
        _is_valid_chat_message(message)
        ids = [call["id"] for call in message.get("tool_calls", ())]
        results = messages[n : n + len(ids)]
        assert [result["role"] for result in results] == ["tool"] * len(ids)
        assert Counter(result["tool_call_id"] for result in results) == Counter(ids)
        assert all(isinstance(result["content"], str) for result in results)
        n += len(ids)


def _is_valid_chat_message(message: Json) -> None:
    content = message["content"]
    assert message.get("tool_calls") != []
    if content is None:
        assert message["role"] == "assistant"
        assert "tool_calls" in message or "refusal" in message
    elif isinstance(content, list):
        kinds = {part["type"] for part in content}
        if message["role"] == "user":
            assert kinds <= {"text", "image_url", "input_audio", "file"}
        elif message["role"] == "assistant":
            assert kinds <= {"text", "refusal"}
        else:
            assert kinds == {"text"}
    for call in message.get("tool_calls", ()):
        assert 0 < len(call["id"]) <= 40
        if call["type"] == "function":
            assert isinstance(call["function"]["arguments"], str)
            assert call["function"]["arguments"]
        else:
            assert isinstance(call["custom"]["input"], str)
        assert NAME.fullmatch(call[call["type"]]["name"])
    assert message.keys() <= {"role", "content", "name", "refusal", "tool_calls"}
    assert re.fullmatch(r"[^\s<|\\/>]{1,64}", message.get("name", "none"))


# -- OpenAI's Responses ----------------------------------------------------------------------------

OUTPUTS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}
PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}


def is_valid_input(rendered: Json) -> None:
    """Calls come before their outputs, of their kind, once each; ids are whole or gone."""
    is_valid_for_all(rendered)
    items = rendered["input"]
    waiting: dict[str, str] = {}
    called: set[str] = set()
    for item in items:
        kind = item.get("type", "message")
        if kind in OUTPUTS:
            assert waiting.pop(item["call_id"]) == OUTPUTS[kind]
        elif kind in OUTPUTS.values():
            assert 0 < len(item["call_id"]) <= 64
            assert NAME.fullmatch(item["name"])
            assert item["call_id"] not in called
            called.add(item["call_id"])
            waiting[item["call_id"]] = kind
        elif kind == "message":
            _is_valid_item(item)
        else:
            assert kind == "reasoning"
            assert item["encrypted_content"]
    assert not waiting
    ids = [item["id"] for item in items if "id" in item]
    assert len(set(ids)) == len(ids)
    assert all(i["id"].startswith(PREFIXES[i.get("type", "message")]) for i in items if "id" in i)
    for item, after in zip_longest(items, items[1:]):
        if item.get("type") == "reasoning":
            assert after is not None, "nothing follows what was thought"
            assert "id" in after


def _is_valid_item(item: Json) -> None:
    assert item["role"] in ("system", "developer", "user", "assistant")
    if isinstance(item["content"], list):
        kinds = {part["type"] for part in item["content"]}
        if item["role"] == "assistant":
            assert kinds <= {"output_text", "refusal"}
        else:
            assert kinds <= {"input_text", "input_image", "input_file"}


# -- Anthropic -------------------------------------------------------------------------------------


OWN = ("document", "tool_reference", "server_tool_use", "mcp_tool_use", "compaction")
RAN_BY_THEM = ("server_tool_use", "mcp_tool_use")


def is_valid_messages(rendered: Json) -> None:
    """The roles take turns, the user first; results lead the message behind their calls."""
    is_valid_for_all(rendered)
    messages = rendered["messages"]
    for block in rendered.get("system", ()):
        assert block["text"].strip()
    assert rendered.get("system") != []
    roles = [message["role"] for message in messages]
    assert roles == [("user", "assistant")[n % 2] for n in range(len(messages))]
    ids: list[str] = []
    for message, after in zip_longest(messages, messages[1:]):
        assert message["content"]
        calls = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        ids += calls
        answered = [
            b["tool_use_id"]
            for b in (after or {}).get("content", ())[: len(calls)]
            if b["type"] == "tool_result"
        ]
        assert Counter(answered) == Counter(calls)
        if after is not None:
            rest = after["content"][len(calls) :]
            assert all(block["type"] != "tool_result" for block in rest)
        for block in message["content"]:
            _is_valid_block(block, message["role"])
        blocks = message["content"]
        ran = [block["id"] for block in blocks if block["type"] in RAN_BY_THEM]
        others = [block for block in blocks if block["type"] != "tool_result"]
        assert ran == [block["tool_use_id"] for block in others if "tool_use_id" in block]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids)


def _is_valid_block(block: Json, role: str) -> None:
    assert "cache_control" not in block
    match block["type"]:
        case "text":
            assert block["text"].strip()
        case "thinking":
            assert role == "assistant"
            assert block["signature"]
        case "redacted_thinking":
            assert block["data"]
        case "tool_use":
            assert isinstance(block["input"], dict)
            assert NAME.fullmatch(block["name"])
        case "tool_result":
            content = block["content"]
            for inner in content if isinstance(content, list) else ():
                _is_valid_block(inner, role)
        case "image":
            assert role == "user"
            source = block["source"]
            assert source["type"] != "base64" or source["media_type"] in IMAGES
        case kind:
            assert kind in OWN or kind.endswith("_tool_result")


# -- the AI SDK ------------------------------------------------------------------------------------

CLOSED = ("output-available", "output-error")


def is_valid_ui(rendered: Json) -> None:
    """Every tool's part has its result, but those that wait for one at the very end."""
    messages = rendered["messages"]
    for message in messages:
        assert message["id"]
        assert message["role"] in ("system", "user", "assistant")
        assert message["parts"]
        for part in message["parts"]:
            if "toolCallId" in part and message is not messages[-1]:
                assert part["state"] in CLOSED


VALID: dict[str, Callable[[Json], None]] = {
    "openai-chat": is_valid_chat,
    "openai-responses": is_valid_input,
    "anthropic": is_valid_messages,
    "ai-sdk": is_valid_ui,
}

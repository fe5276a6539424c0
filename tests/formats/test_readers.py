"""What each format's messages become: one message each, in parts that everybody shares."""

import json
from typing import Any

import pytest
from msgspec import Raw

from formats.conversations import Incoming, Skipped, conversations
from formats.drafts import Memory
from formats.problems import NotReadable
from formats.raws import raw_of
from formats.recognising import FORMATS, recognise
from tests.support.histories import IMAGE, call, result, text

Json = dict[str, Any]


def read(kind: str, *messages: Any) -> list[Json]:
    """Role, parts, and what is kept beside the source, one after the other."""
    memory = Memory()
    drafts = []
    for number, message in enumerate(messages, 1):
        memory.number = number
        draft = FORMATS[kind].read(raw_of(message), memory)
        beside = {"metadata": draft.metadata} if draft.metadata else {}
        said = {"role": draft.role, "parts": json.loads(bytes(draft.parts_json()))}
        drafts.append(said | beside)
    return drafts


def plain(*messages: Json) -> list[Json]:
    """With the JSON in them as values."""
    return list(json.loads(bytes(raw_of(messages))))


FUNCTION = {"name": "look_up", "arguments": '{"n":1.0}'}

CASES: dict[str, tuple[str, list[Any], list[Json]]] = {
    "chat": (
        "openai-chat",
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is it?", "name": "Ann"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": FUNCTION}]},
            {"role": "tool", "tool_call_id": "c", "name": "look_up", "content": "found"},
        ],
        [
            {"role": "system", "parts": [text("Be brief.")]},
            {"role": "user", "parts": [text("What is it?")], "metadata": {"name": "Ann"}},
            {"role": "assistant", "parts": [call("c") | {"input": {"n": 1.0}}]},
            {"role": "tool", "parts": [result("c", name="look_up")]},
        ],
    ),
    "chat, in parts": (
        "openai-chat",
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See:"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
                    {"type": "new_thing", "x": 1},
                ],
            }
        ],
        [
            {
                "role": "user",
                "parts": [
                    text("See:"),
                    {
                        "type": "file",
                        "media_type": "image/png",
                        "url": "data:image/png;base64,aGVsbG8=",
                    },
                    {"type": "file", "media_type": "audio/mpeg", "data": "AA=="},
                    {
                        "type": "opaque",
                        "provider": "openai",
                        "kind": "new_thing",
                        "value": {"type": "new_thing", "x": 1},
                    },
                ],
            }
        ],
    ),
    "chat, as it was before calls had ids": (
        "openai-chat",
        [
            {"role": "assistant", "content": None, "function_call": FUNCTION},
            {"role": "function", "name": "look_up", "content": "found"},
        ],
        [
            {"role": "assistant", "parts": [call("call-1-1") | {"input": {"n": 1.0}}]},
            {"role": "function", "parts": [result("call-1-1", name="look_up")]},
        ],
    ),
    "arguments that are not the same to the letter": (
        "openai-chat",
        [
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a", "function": {"name": "look_up", "arguments": '{ "n": 1 }'}},
                    {"id": "b", "function": {"name": "look_up", "arguments": '{"cut'}},
                    {"id": "c", "custom": {"name": "look_up", "input": "free"}},
                ],
            }
        ],
        [
            {
                "role": "assistant",
                "parts": [
                    call("a", '{ "n": 1 }'),
                    call("b", '{"cut'),
                    call("c", "free", kind="custom"),
                ],
            }
        ],
    ),
    "nothing said": (
        "openai-chat",
        [{"role": "assistant", "content": None}],
        [{"role": "assistant", "parts": [{"type": "step"}]}],
    ),
    "anthropic": (
        "anthropic",
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "r"},
                    {"type": "text", "text": "I look.", "cache_control": {"type": "ephemeral"}},
                    {"type": "tool_use", "id": "t", "name": "look_up", "input": {"n": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": "no", "is_error": True},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="},
                    },
                ],
            },
        ],
        [
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "text": "hm", "signature": "s", "provider": "anthropic"},
                    {"type": "reasoning", "redacted": "r", "provider": "anthropic"},
                    text("I look."),
                    call("t") | {"input": {"n": 1}},
                ],
            },
            {"role": "user", "parts": [result("t", "no", is_error=True), IMAGE]},
        ],
    ),
    "anthropic, what it runs itself": (
        "anthropic",
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "server_tool_use", "id": "s", "name": "search", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": "s", "content": [1]},
                ],
            }
        ],
        [
            {
                "role": "assistant",
                "parts": [
                    {
                        "type": "tool-call",
                        "call_id": "s",
                        "name": "search",
                        "input": {},
                        "kind": "server_tool_use",
                        "by": "provider",
                        "provider_metadata": {"anthropic": {"type": "server_tool_use"}},
                    },
                    result("s", [1], "json", by="provider")
                    | {"provider_metadata": {"anthropic": {"type": "web_search_tool_result"}}},
                ],
            }
        ],
    ),
    "responses": (
        "openai-responses",
        [
            {"role": "user", "content": "What is it?"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I look."}],
                "phase": "commentary",
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c"} | FUNCTION,
            {"type": "function_call_output", "call_id": "c", "output": "found"},
            {"type": "web_search_call", "id": "ws_1"},
        ],
        [
            {"role": "user", "parts": [text("What is it?")]},
            {
                "role": "assistant",
                "parts": [
                    {
                        "type": "reasoning",
                        "id": "rs_1",
                        "summary": [],
                        "encrypted": "e",
                        "provider": "openai",
                    }
                ],
                "metadata": {"group": "answer-1"},
            },
            {
                "role": "assistant",
                "parts": [
                    text("I look.")
                    | {"id": "msg_1", "provider_metadata": {"openai": {"phase": "commentary"}}}
                ],
                "metadata": {"group": "answer-1"},
            },
            {
                "role": "assistant",
                "parts": [call("c", id="fc_1") | {"input": {"n": 1.0}}],
                "metadata": {"group": "answer-1"},
            },
            {"role": "tool", "parts": [result("c")]},
            {
                "role": "assistant",
                "parts": [
                    {
                        "type": "opaque",
                        "provider": "openai",
                        "kind": "web_search_call",
                        "value": {"type": "web_search_call", "id": "ws_1"},
                    }
                ],
                "metadata": {"group": "answer-2"},
            },
        ],
    ),
    "sharegpt": (
        "sharegpt",
        [
            {"from": "human", "value": "What is it?"},
            {"from": "function_call", "value": '{"name": "look_up", "arguments": {"n": 1}}'},
            {"from": "observation", "value": "found"},
            {"from": "observation", "value": "of nothing"},
            {"from": "gpt", "value": "It is this."},
        ],
        [
            {"role": "user", "parts": [text("What is it?")]},
            {"role": "assistant", "parts": [call("call-2-1") | {"input": {"n": 1}}]},
            {"role": "tool", "parts": [result("call-2-1")]},
            {"role": "tool", "parts": [result("result-4", "of nothing")]},
            {"role": "assistant", "parts": [text("It is this.")]},
        ],
    ),
    "ai sdk": (
        "ai-sdk",
        [
            {
                "id": "m",
                "role": "user",
                "metadata": {"a": 1},
                "parts": [{"type": "text", "text": "x"}],
            }
        ],
        [{"role": "user", "parts": [text("x")], "metadata": {"a": 1}}],
    ),
    "openhands": (
        "openhands",
        [
            {"source": "user", "action": "message", "args": {"content": "Mend it."}},
            {"source": "user", "action": "recall", "args": {"query": "Mend it."}},
            {
                "source": "agent",
                "action": "run",
                "args": {"command": "ls", "thought": "I look."},
                "tool_call_metadata": {"tool_call_id": "c", "function_name": "bash"},
            },
            {
                "source": "agent",
                "observation": "run",
                "content": "file",
                "tool_call_metadata": {"tool_call_id": "c", "function_name": "bash"},
            },
            {"source": "agent", "observation": "error", "content": "try again"},
        ],
        [
            {"role": "user", "parts": [text("Mend it.")]},
            {"role": "user", "parts": [{"type": "data", "name": "openhands-recall", "data": None}]},
            {
                "role": "assistant",
                "parts": [
                    text("I look."),
                    call("c", name="bash") | {"input": {"command": "ls", "thought": "I look."}},
                ],
            },
            {"role": "tool", "parts": [result("c", "file", name="bash")]},
            {"role": "user", "parts": [text("try again")]},
        ],
    ),
    "swe-agent": (
        "swe-agent",
        [
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "function": FUNCTION}],
                "agent": "main",
            },
            {"role": "tool", "content": "found", "tool_call_ids": ["c"]},
        ],
        [
            {"role": "assistant", "parts": [call("c") | {"input": {"n": 1.0}}]},
            {"role": "tool", "parts": [result("c")]},
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_format_becomes_the_same_parts(case: str) -> None:
    kind, messages, expected = CASES[case]
    assert plain(*read(kind, *messages)) == plain(*expected)


def test_several_calls_of_one_answer_say_its_text_once() -> None:
    answer = {
        "id": "r",
        "choices": [
            {
                "message": {
                    "content": "I look twice.",
                    "tool_calls": [{"id": one, "function": FUNCTION} for one in ("a", "b")],
                }
            }
        ],
    }
    called = [
        {"source": "agent", "action": "run", "args": {}, "tool_call_metadata": metadata}
        for metadata in (
            {"tool_call_id": one, "function_name": "look_up", "model_response": answer}
            for one in ("a", "b")
        )
    ]
    first, second = read("openhands", *called)
    assert [part["type"] for part in first["parts"]] == ["text", "tool-call"]
    assert [part["type"] for part in second["parts"]] == ["tool-call"]
    assert first["parts"][1]["input"] == {"n": 1.0}


@pytest.mark.parametrize(
    ("kind", "message", "says"),
    [
        ("openai-chat", [], "a message has to be a JSON object"),
        ("openai-chat", {"content": "x"}, "`role` has to be a string"),
        ("openai-chat", {"role": "user", "content": 5}, "`content` has to be a string"),
        ("openai-chat", {"role": "assistant", "tool_calls": [{"id": "c"}]}, "`function`"),
        ("anthropic", {"role": "user"}, "`content` has to be a string or a list"),
        ("anthropic", {"role": "user", "content": [{"type": "text"}]}, "`text`"),
        ("openai-responses", {"type": "function_call", "name": "x"}, "`call_id`"),
        ("sharegpt", {"from": "nobody", "value": "x"}, "the role 'nobody' is none of"),
        ("ai-sdk", {"role": "user", "parts": [{}]}, "every part has to have a `type`"),
        ("openhands", {"source": "agent"}, "an `action` or an `observation`"),
    ],
)
def test_what_is_not_of_the_format_says_why(kind: str, message: Any, says: str) -> None:
    with pytest.raises(NotReadable) as refused:
        read(kind, message)
    assert says in str(refused.value)


# -- recognising -----------------------------------------------------------------------------------

UI = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "x"}]}
CHAT = {"role": "user", "content": "x"}
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}


@pytest.mark.parametrize(
    ("values", "kind", "layout"),
    [
        ([CHAT], "openai-chat", "messages"),
        ([{"messages": [CHAT]}], "openai-chat", "conversations"),
        ([{"messages": []}, {"messages": [CHAT]}], "openai-chat", "conversations"),
        ([{"messages": [CHAT], "system": "s"}], "anthropic", "conversations"),
        ([{"messages": [CHAT]}, {"messages": [USED]}], "anthropic", "conversations"),
        ([CHAT, USED], "anthropic", "messages"),
        ([UI], "ai-sdk", "messages"),
        ([{"id": "c", "messages": [UI]}], "ai-sdk", "conversations"),
        ([{"conversations": [{"from": "human", "value": "x"}]}], "sharegpt", "conversations"),
        ([{"from": "human", "value": "x"}], "sharegpt", "messages"),
        ([{"history": [CHAT], "trajectory": []}], "swe-agent", "conversations"),
        ([{"source": "user", "action": "message"}], "openhands", "messages"),
        ([{"history": [{"source": "user", "action": "x"}]}], "openhands", "conversations"),
        ([CHAT, {"type": "reasoning", "id": "rs_1"}], "openai-responses", "messages"),
        ([{"input": [{"type": "reasoning"}]}], "openai-responses", "conversations"),
    ],
)
def test_a_format_is_seen_by_its_shape(values: list[Json], kind: str, layout: str) -> None:
    shape = recognise([raw_of(value) for value in values])
    assert (shape.format.name, shape.layout) == (kind, layout)


def test_a_name_is_taken_for_it() -> None:
    shape = recognise([raw_of({"messages": [CHAT]})], "anthropic")
    assert (shape.format.name, shape.layout) == ("anthropic", "conversations")


@pytest.mark.parametrize("values", [[], [[1]], ["x"], [{"a": 1}], [{"messages": []}]])
def test_what_nobody_knows_is_one_sentence(values: list[Any]) -> None:
    with pytest.raises(NotReadable) as refused:
        recognise([raw_of(value) for value in values])
    assert "\n" not in str(refused.value)


# -- what can't be read ----------------------------------------------------------------------------


def test_one_bad_message_does_not_take_the_others_with_it() -> None:
    lines = [b'{"role":"user","content":"a"}', b'{"role":', b"\xff", b"[]", b'{"role":"user"}']
    values = [(f"line {n}", line) for n, line in enumerate(lines, 1)]
    (found,) = conversations(recognise([Raw(lines[0])]), values)
    assert not isinstance(found, Skipped)
    seen = list(found.messages)
    assert [one.where for one in seen] == [f"line {n}" for n in range(1, 6)]
    assert [isinstance(one, Incoming) for one in seen] == [True, False, False, False, True]
    assert "UTF-8" in next(o.reason for o in seen if isinstance(o, Skipped) and o.where == "line 3")


def test_what_a_node_would_refuse_is_skipped_before() -> None:
    deep: Any = "x"
    for _ in range(130):
        deep = [deep]
    messages = [
        {"role": "user", "content": "x" * (1 << 20)},
        {"role": "user", "content": "x", "deep": deep},
        {"role": "r" * 65, "content": "x"},
    ]
    values = [("line", bytes(raw_of(message))) for message in messages]
    (found,) = conversations(recognise([raw_of(CHAT)]), values)
    assert not isinstance(found, Skipped)
    large, nested, named = found.messages
    assert isinstance(large, Skipped)
    assert "1048576" in large.reason
    assert isinstance(nested, Skipped)
    assert "nested" in nested.reason
    assert isinstance(named, Skipped)
    assert "64 characters" in named.reason

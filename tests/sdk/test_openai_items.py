"""Items of OpenAI's Responses as messages: they come back as they were, and show in neutral parts
what can be said in them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewindow_client import Message
from rewindow_client.openai_items import detached, items_of, message_of

Json = dict[str, Any]

ITEMS: dict[str, Json] = {
    "a word": {"role": "user", "content": "Where is my parcel?"},
    "typed": {"type": "message", "role": "developer", "content": "Be brief."},
    "an answer": {
        "id": "msg_1",
        "content": [
            {"annotations": [], "text": "It is late.", "type": "output_text", "logprobs": []}
        ],
        "role": "assistant",
        "status": "completed",
        "type": "message",
    },
    "cited": {
        "id": "msg_2",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "So.", "annotations": [{"type": "url_citation"}]},
            {"type": "refusal", "refusal": "No more."},
        ],
    },
    "an image": {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            {"type": "input_file", "file_url": "https://example.com/a.pdf", "filename": "a.pdf"},
        ],
    },
    "a call": {
        "arguments": '{"city":"Köln"}',
        "call_id": "call_1",
        "name": "weather",
        "type": "function_call",
        "id": "fc_1",
        "status": "completed",
    },
    "a call with blanks": {
        "type": "function_call",
        "call_id": "call_2",
        "name": "weather",
        "arguments": '{ "city": "K\\u00f6ln" }',
    },
    "a call that is no JSON": {
        "type": "function_call",
        "call_id": "call_3",
        "name": "weather",
        "arguments": '{"city": ',
    },
    "a result": {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    "a result of parts": {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": [{"type": "input_text", "text": "rain"}],
    },
    "free text": {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls -l"},
    "its result": {"type": "custom_tool_call_output", "call_id": "c", "output": "total 0"},
    "a thought": {
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "type": "reasoning",
        "encrypted_content": "gAAAA",
        "content": None,
        "provider_data": {"model": "m"},
    },
    "a search": {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}},
    "nothing": {"role": "user", "content": []},
    "a reference": {"type": None, "id": "msg_9"},
}


def read_back(item: Json, *, without: int = 0) -> Message:
    """The message as it is read, after some of its parts were taken out of the window."""
    said = json.loads(json.dumps(message_of(item)))
    return Message(
        role=said["role"],
        parts=said["parts"][without:],
        metadata=said.get("metadata", {}),
        token_count=1,
        version=1,
        inserted_at="",
    )


def same(one: Any, other: Any) -> bool:
    """1, 1.0 and true are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_an_item_comes_back_as_it_was(item: Json) -> None:
    assert same(items_of(read_back(item)), [item])


def test_what_can_be_said_in_neutral_parts_is() -> None:
    parts = {name: message_of(item)["parts"] for name, item in ITEMS.items()}
    assert parts["an answer"] == [{"type": "text", "text": "It is late."}]
    assert parts["a call"] == [
        {"type": "tool-call", "call_id": "call_1", "name": "weather", "input": {"city": "Köln"}}
    ]
    assert parts["a call with blanks"][0]["input_raw"] == '{ "city": "K\\u00f6ln" }'
    assert parts["a result"] == [
        {
            "type": "tool-result",
            "call_id": "call_1",
            "output": {"as": "text", "value": "rain"},
        }
    ]
    assert [part["type"] for part in parts["an image"]] == ["text", "file", "file"]
    assert parts["a thought"][0]["encrypted"] == "gAAAA"
    assert parts["a search"][0]["kind"] == "web_search_call"
    roles = [message_of(ITEMS[name])["role"] for name in ("a word", "typed", "a call", "a result")]
    assert roles == ["user", "developer", "assistant", "tool"]


def test_nothing_long_is_stored_twice() -> None:
    words = "A long answer. " * 50
    for name in ("an answer", "a result", "a word"):
        item = json.loads(json.dumps(ITEMS[name]))
        if name == "an answer":
            item["content"][0]["text"] = words
        else:
            item["output" if name == "a result" else "content"] = words
        assert json.dumps(message_of(item)).count(words) == 1


def test_what_a_policy_took_out_does_not_come_back() -> None:
    image = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}
    what, why = ({"type": "input_text", "text": word} for word in ("What?", "Why?"))
    said = {"type": "message", "role": "user", "content": [what, image, why]}
    assert items_of(read_back(said, without=0)) == [said]
    (left,) = items_of(read_back(said, without=1))
    assert left == {"role": "user", "content": [image | {"detail": "auto"}, why]}


def test_what_others_said_becomes_items() -> None:
    foreign = Message(
        role="assistant",
        parts=[
            {"type": "text", "text": "Let me see."},
            {"type": "tool-call", "call_id": "c", "name": "look", "input": {"at": 1}},
            {"type": "tool-result", "call_id": "c", "output": {"as": "json", "value": [1]}},
            {"type": "data", "name": "mine", "data": 1},
            {"type": "never heard of"},
            {"type": "text", "text": "I see."},
        ],
        metadata={"openai_item": "not ours"},
        token_count=1,
        version=1,
        inserted_at="",
    )
    assert items_of(foreign) == [
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"at":1}'},
        {"type": "function_call_output", "call_id": "c", "output": "[1]"},
        {"role": "assistant", "content": "I see."},
    ]


def test_items_behind_others_lose_what_ties_them() -> None:
    names = ("a thought", "a call", "a result", "its result", "an answer", "a search")
    left = detached([ITEMS[name] for name in names])
    assert [item.get("type") for item in left] == [
        "function_call",
        "function_call_output",
        "message",
        "web_search_call",
    ]
    assert [item.get("id") for item in left] == [None, None, None, "ws_1"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 1.0]) | st.text("aé\0"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "role", "content", "x"]), inner)
    ),
    max_leaves=6,
)


@given(base=st.sampled_from(list(ITEMS.values())), more=st.data())
def test_whatever_an_item_is_it_comes_back(base: Json, more: st.DataObject) -> None:
    item = json.loads(json.dumps(base))
    for name in more.draw(st.lists(st.sampled_from([*item, "new"]), unique=True)):
        if more.draw(st.booleans()) and name in item:
            del item[name]
        else:
            item[name] = more.draw(JSON)
    assert same(items_of(read_back(item)), [item])


@given(item=st.dictionaries(st.sampled_from(["type", "role", "content", "call_id", "x"]), JSON))
def test_whatever_an_object_is_it_comes_back(item: Json) -> None:
    (back,) = items_of(read_back(item))
    assert same(back, item)
    assert len(detached([back, back])) <= 2


@given(
    parts=st.lists(st.dictionaries(st.sampled_from(["type", "text", "output"]), JSON)), kept=JSON
)
def test_whatever_was_stored_can_be_read(parts: list[Json], kept: Any) -> None:
    for part in parts:
        part.setdefault("type", "text")
    said = Message(
        role="user",
        parts=parts,
        metadata={"openai_item": kept},
        token_count=1,
        version=1,
        inserted_at="",
    )
    assert all(isinstance(item, dict) for item in detached(items_of(said)))

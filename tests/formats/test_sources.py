"""What a message was made of comes back to the letter, or not at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from formats.conversations import Conversation, Incoming, conversation_back, conversations
from formats.problems import NotReadable
from formats.recognising import FORMATS, Shape
from formats.sources import given_back, kept_in, source_for
from schemas.codec import compact
from tests.support.strategies import json_texts

LONG = ('"a text that is longer than its reference"', '"caf\\\\u00e9, at length, in escapes"')
written = st.one_of(json_texts, st.sampled_from((*LONG, '{"$":1}', '[{"$":0},{"$":99}]')))


@given(st.lists(written, max_size=4), st.lists(written, max_size=3))
def test_any_json_comes_back_to_the_letter(texts: list[str], parts: list[str]) -> None:
    text = compact(f"[{','.join([*texts, *parts])}]".encode())
    held = compact(f"[{','.join(parts)}]".encode())
    source = source_for("any", text, held)
    kept = kept_in(msgspec.json.encode({"source": source}))
    assert kept is not None
    assert given_back(kept, held) == text


def test_a_long_text_is_kept_once() -> None:
    said = "word " * 200
    text = msgspec.json.encode({"role": "user", "content": said})
    parts = msgspec.json.encode([{"type": "text", "text": said}])
    assert len(msgspec.json.encode(source_for("openai-chat", text, parts))) < 200


def test_a_key_is_never_taken_for_a_text() -> None:
    name = "a key that is as long as a text"
    text = msgspec.json.encode({name: name})
    parts = msgspec.json.encode([name])
    source = source_for("any", text, parts)
    assert msgspec.json.decode(source.shape) == {name: {"$": 0}}
    assert given_back(source, parts) == text


def test_parts_that_somebody_changed_give_nothing_back() -> None:
    source = source_for("any", b'["what was said at first"]', b'[{"type":"text"}]')
    assert given_back(source, b'[{"type":"image"}]') is None


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"source":{"format":"any","shape":{"$":7},"parts":"%b"}}' % b"0" * 16,
        b'{"source":{"format":"any"}}',
        b'{"source":"https://example.com"}',
        b'{"source":{"format":1}}',
        b"{}",
    ],
)
def test_metadata_of_somebody_else_do_no_harm(metadata: bytes) -> None:
    kept = kept_in(metadata)
    assert kept is None or given_back(kept, b"[]") is None


# -- whole conversations ---------------------------------------------------------------------------


def imported(kind: str, text: str) -> list[bytes]:
    """The messages of a conversation as a node gives them back."""
    values = [("line 1", text.encode())]
    (found,) = conversations(Shape(FORMATS[kind], "conversations"), values)
    assert isinstance(found, Conversation)
    bodies = []
    for message in found.messages:
        assert isinstance(message, Incoming), message
        said = msgspec.json.decode(message.body, type=dict[str, Raw])
        bodies.append(msgspec.json.encode({"version": 1, "seq": 1} | said))
    return bodies


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("openai-chat", '{"x":1.0,"messages":[{"content":"a","role":"user"}],"y":[1e999]}'),
        ("openai-chat", '{"messages":[{"role":"assistant","content":null}]}'),
        ("openai-chat", '{"messages":[]}'),
        ("openai-chat", '{"messages":[{"role":"user","content":"{\\"$\\":0}","$":{"$":0}}]}'),
        ("anthropic", '{"messages":[{"role":"user","content":"a"}],"system":"be brief"}'),
        ("anthropic", '{"system":null,"messages":[{"role":"user","content":[]}]}'),
        ("sharegpt", '{"tools":"[]","system":"s","conversations":[{"from":"gpt","value":""}]}'),
        ("ai-sdk", '{"messages":[{"id":"1","role":"assistant","parts":[],"metadata":7}]}'),
        ("openai-responses", '{"input":[{"role":"user","content":"a"}],"instructions":"i"}'),
    ],
)
def test_what_stands_around_comes_back_too(kind: str, text: str) -> None:
    if text == '{"messages":[]}':
        assert conversation_back(imported(kind, text)) == []
    else:
        assert conversation_back(imported(kind, text)) == [text.encode()]


def test_a_change_is_not_passed_over() -> None:
    (body,) = imported("openai-chat", '{"messages":[{"role":"user","content":"hello"}]}')
    with pytest.raises(NotReadable, match="no longer"):
        conversation_back([body.replace(b"hello", b"goodbye", 1)])


def test_what_was_said_since_is_passed_over() -> None:
    text = '{"messages":[{"role":"user","content":"hello"}]}'
    later = b'{"seq":2,"role":"user","parts":[{"type":"text","text":"more"}],"metadata":{}}'
    assert conversation_back([*imported("openai-chat", text), later]) == [text.encode()]

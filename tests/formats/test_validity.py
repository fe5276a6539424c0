"""No window, whatever has happened to it, is rendered into what a provider answers with 400."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from formats.ids import CallIds
from formats.rendering import RENDERERS, render
from formats.window import Piece, read_message
from tests.formats.validity import VALID
from tests.support.histories import SIGNED, call, histories, items, reasoning, result, stored, text

Json = dict[str, Any]

since = st.sampled_from((0, 0, 2, None))


def rendered(kind: str, history: list[Json], unchanged_since: int | None = 0) -> Json:
    """As it goes over the wire."""
    fields = render(kind, stored(history), unchanged_since).fields
    return dict(msgspec.json.decode(_lenient(msgspec.json.encode(fields))))


def _lenient(text: bytes) -> bytes:
    """Numbers beyond all floats go through to the letter; this reader knows none."""
    return text.replace(b"1e999", b"1e99")


def test_every_format_has_its_rules() -> None:
    assert VALID.keys() == RENDERERS.keys()


@given(histories(), since)
def test_nothing_that_is_refused_comes_out(history: list[Json], since: int | None) -> None:
    for kind, is_valid in VALID.items():
        is_valid(rendered(kind, history, since))


@given(histories(), since)
def test_the_same_window_gives_the_same_bytes(history: list[Json], since: int | None) -> None:
    for kind in VALID:
        once, again = (render(kind, stored(history), since).fields for _ in range(2))
        assert msgspec.json.encode(once) == msgspec.json.encode(again)


# -- what grows ------------------------------------------------------------------------------------


@st.composite
def turns(draw: st.DrawFn) -> list[Json]:
    """A turn that is whole: every call is answered before anything else is said."""
    number = draw(st.integers(0, 10**6))
    ids = [f"call_{number}_{n}" for n in range(draw(st.integers(0, 3)))]
    thoughts = draw(st.lists(reasoning(), max_size=1))
    said = [*thoughts, text("I look"), *(call(one) for one in ids)]
    answers = [{"role": "tool", "parts": [result(one)]} for one in draw(st.permutations(ids))]
    end = [{"role": "assistant", "parts": [text("so it is")]}] if ids else []
    asked: Json = {"role": "user", "parts": [text("what is it?")]}
    return [asked, {"role": "assistant", "parts": said}, *answers, *end]


@given(st.lists(turns(), min_size=1, max_size=4), turns())
def test_a_window_that_grows_begins_with_what_it_was(
    before: list[list[Json]], more: list[Json]
) -> None:
    """Otherwise no provider's cache would ever be hit."""
    history = [message for turn in before for message in turn]
    for kind in VALID:
        (short,) = _lists(rendered(kind, history))
        (long,) = _lists(rendered(kind, history + more))
        assert long[: len(short)] == short


def _lists(rendered: Json) -> list[list[Json]]:
    return [value for name, value in rendered.items() if name in ("messages", "input")]


# -- what was thought ------------------------------------------------------------------------------


@given(histories())
def test_nothing_signed_is_sent_where_the_window_has_changed(history: list[Json]) -> None:
    for kind in VALID:
        wire = json.dumps(rendered(kind, history, None))
        assert "sealed" not in wire
        assert not any(signed.get("signature", "sealed") in wire for signed in SIGNED)


@given(st.lists(turns(), min_size=1, max_size=4), st.integers(0, 12))
def test_what_was_thought_since_the_change_is_sent_and_nothing_older(
    before: list[list[Json]], since: int
) -> None:
    history = [message for turn in before for message in turn]
    signed = [
        part.get("signature", part.get("redacted"))
        for version, message in enumerate(history, 1)
        for part in message["parts"]
        if version > since and part.get("provider") == "anthropic"
    ]
    sent = [
        block.get("signature", block.get("data"))
        for message in rendered("anthropic", history, since)["messages"]
        for block in message["content"]
        if block["type"] in ("thinking", "redacted_thinking")
    ]
    assert sent == signed


@given(st.lists(items() | turns(), min_size=1, max_size=4), st.data())
def test_items_of_one_answer_hang_together_by_their_ids_or_have_none(
    answers: list[list[Json]], data: st.DataObject
) -> None:
    """Whatever is undone, which goes from the end."""
    history = [message for answer in answers for message in answer]
    history = history[: data.draw(st.integers(0, len(history)))]
    sent = [item["id"] for item in rendered("openai-responses", history)["input"] if "id" in item]
    groups = [
        [part["id"] for message in answer for part in message["parts"] if "id" in part]
        for answer in answers
        if "group" in answer[0].get("metadata", {})
    ]
    ids = [one for group in groups for one in group]
    for group in groups if len(set(ids)) == len(ids) else ():
        here = [one for one in sent if one in group]
        assert here == group[: len(here)]
        assert not (here and all(one.startswith("rs") for one in here)), "with what it led to"


# -- ids -------------------------------------------------------------------------------------------

call_ids = st.text(max_size=120) | st.sampled_from(("a:b", "a.b", "a_b", "x" * 41, "x" * 65))


def _called(call_id: str) -> Piece:
    body = stored([{"role": "assistant", "parts": [call(call_id)]}])[0]
    return read_message(0, body, 0).pieces[0]


@given(st.lists(call_ids, unique=True, max_size=20), st.sampled_from((40, 64)), st.booleans())
def test_ids_that_differ_stay_different(ids: list[str], chars_max: int, plain: bool) -> None:
    given_out = CallIds(chars_max, plain=plain)
    fitted = [given_out.for_call(_called(one)) for one in ids]
    assert len(set(fitted)) == len(ids)
    assert [given_out.fitting(one) for one in fitted] == fitted, "what fits stays as it is"

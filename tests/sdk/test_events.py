"""A stream's bytes, however they are cut, are the events that were sent."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from rewindow_client.events import Event, Events

JSON = st.recursive(
    st.text(st.characters(codec="utf-8")) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    told=st.lists(st.tuples(st.none() | st.integers(0, 2**63 - 1), JSON), max_size=4),
    comments=st.booleans(),
    sizes=st.lists(st.integers(1, 40), min_size=1),
)
@example(told=[(1, "one line\u2028\x85\x0b\r for JSON")], comments=True, sizes=[1])
def test_events_come_whole_however_they_are_cut(
    told: list[tuple[int | None, object]], comments: bool, sizes: list[int]
) -> None:
    sent = []
    stream = b": following\n\n" if comments else b""
    for number, value in told:
        data = json.dumps(value, ensure_ascii=False).encode()
        sent.append(Event(number, data))
        stream += (b"" if number is None else b"id: %d\n" % number) + b"data: %b\n\n" % data
    stream += b": closed: the node stops\n\n" if comments else b""

    events, heard, at = Events(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        heard += events.feed(stream[at : at + size])
        at += size
    assert heard == sent


def test_an_event_that_is_not_whole_is_none() -> None:
    assert list(Events().feed(b'id: 7\ndata: {"type":"ping"}\n')) == []

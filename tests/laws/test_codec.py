"""Bytes to events: any bytes give an event or the reason why not, and any event can be folded."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from schemas.codec import (
    Unreadable,
    decode_event,
    decode_fact,
    encode_event,
    encode_fact,
    sound_data,
)
from schemas.events import EventData, LogEvent
from schemas.limits import REASON_CHARS_MAX, RECORD_BYTES_MAX
from streams.core.head import decode_head, encode_head
from streams.core.rows import answer_of, answer_row, message_of, shown_row
from tests.support.fold import World
from tests.support.strategies import event_data, events, json_texts, logs, mutated_records

_Object = dict[str, Raw]


def _read(key: bytes | None, value: bytes | None) -> LogEvent | None:
    """The event, or None where there is a reason why not that fits a header."""
    try:
        return decode_event(key, value)
    except Unreadable as exc:
        reason = str(exc)
    assert 0 < len(reason) <= REASON_CHARS_MAX
    assert reason.encode()
    return None


@given(key=st.none() | st.binary(), value=st.none() | st.binary(max_size=200))
def test_any_bytes_are_an_event_or_unreadable(key: bytes | None, value: bytes | None) -> None:
    _read(key, value)


@given(value=json_texts)
def test_any_json_is_an_event_or_unreadable(value: str) -> None:
    _read(b"a", value.encode())


@settings(max_examples=400)
@given(record=mutated_records(), before=logs(max_size=4))
def test_whatever_can_be_read_can_be_folded_and_written_again(
    record: tuple[bytes, bytes], before: list[LogEvent]
) -> None:
    event = _read(*record)
    if event is None:
        return
    value = encode_event(event)
    again = decode_event(event.subject.encode(), value)
    assert again == event
    assert encode_event(again) == value
    world = World()
    world.take_all(*before, event)
    for name, fact in world.facts:
        assert len(encode_fact(fact, fact_id="0", subject=name)) < RECORD_BYTES_MAX


@given(event=events())
def test_events_come_back_as_they_were(event: LogEvent) -> None:
    value = encode_event(event)
    assert decode_event(event.subject.encode(), value) == event
    assert encode_event(decode_event(event.subject.encode(), value)) == value


@given(data=event_data())
def test_sound_data_are_what_every_reader_gets(data: EventData) -> None:
    """To the byte: whoever wrote an event may fold it without reading it again."""
    event = LogEvent("e", "c", "/tests", sound_data(data))
    read = decode_event(b"c", encode_event(event))
    assert read == event
    assert msgspec.json.encode(read.data) == msgspec.json.encode(event.data)


@given(log=logs())
def test_heads_rows_and_facts_come_back_as_they_were(log: list[LogEvent]) -> None:
    world = World()
    world.take_all(*log)
    for head in world.heads.values():
        assert decode_head(encode_head(head)) == head
    for name, fact in world.facts:
        assert decode_fact(encode_fact(fact, fact_id="0.1.2", subject=name)) == (name, fact)
        whole = msgspec.json.decode(encode_fact(fact, fact_id="0.1.2", subject=name), type=_Object)
        backwards = dict(reversed({**whole, "unknown": Raw(b"[]")}.items()))
        assert decode_fact(msgspec.json.encode(backwards)) == (name, fact)
    for name in world.heads:
        for row in world.numbered("s", name).values():
            assert row.endswith(bytes(8)) or shown_row(message_of(row)) == row
        prefix = name.encode() + b"\0k"
        for key, row in world.rows.items():
            if key.startswith(prefix):
                assert answer_row(answer_of(row)) == row


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{}",
        b'{"type":"message.accepted.v1","subject":"c"}',
        b'{"type":"message.accepted.v1","data":{"event_id":"e","message":{}}}',
        b'{"subject":"c","data":{"event_id":"e","message":{}}}',
        b'{"type":"message.accepted.v9","subject":"c","data":{"event_id":"e","message":{}}}',
        b'{"type":"undo.accepted.v1","subject":"c","data":{"event_id":"e","message":{}}}',
        b'{"type":"message.accepted.v1","subject":"c","data":{"event_id":"e","message":{}}',
    ],
)
def test_what_is_no_fact_is_unreadable(value: bytes) -> None:
    with pytest.raises(Unreadable, match="not a fact"):
        decode_fact(value)

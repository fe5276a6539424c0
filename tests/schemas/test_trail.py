"""Request id and traceparent on the wire: carried where sound, never a reason to refuse."""

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec import Raw

from schemas.codec import decode_event, encode_event, encode_fact
from schemas.events import ContextTombstoned, LogEvent
from schemas.facts import MessageAccepted
from schemas.trail import NO_TRAIL, Trail
from tests.support.strategies import json_texts

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PLAIN = LogEvent("k", "c", "/x", ContextTombstoned())


def event_with(attribute: str, value: str) -> LogEvent:
    """The plain event, read from a record that has one attribute more, as JSON text."""
    record = encode_event(PLAIN).decode().replace('"data"', f'"{attribute}":{value},"data"')
    return decode_event(b"c", record.encode())


def test_a_record_without_a_trail_is_what_it_always_was() -> None:
    record = (
        b'{"specversion":"1.0","id":"k","source":"/x","type":"context.tombstoned.v1",'
        b'"subject":"c","data":{}}'
    )
    assert encode_event(PLAIN) == record
    assert decode_event(b"c", record) == PLAIN
    assert PLAIN.trail == NO_TRAIL


@pytest.mark.parametrize(
    "trail",
    [
        Trail("r-1", TRACEPARENT),
        Trail("!" * 128, None),
        Trail('"\\~', None),
        Trail(None, TRACEPARENT[:-2] + "00"),
    ],
)
def test_a_trail_goes_with_the_event_and_with_its_facts(trail: Trail) -> None:
    event = LogEvent("k", "c", "/x", ContextTombstoned(), trail)
    value = encode_event(event)
    assert decode_event(b"c", value) == event
    fact = encode_fact(
        MessageAccepted("k", Raw(b"{}")), fact_id="0.1.0", subject="c", trail=event.trail
    )
    for record in (value, fact):
        attributes: dict[str, Any] = json.loads(record)
        assert attributes.get("requestid") == trail.request_id
        assert attributes.get("traceparent") == trail.traceparent


@pytest.mark.parametrize(
    "value", ["5", "null", "[]", '""', '"a b"', '"é"', '"\\n"', f'"{"a" * 129}"']
)
def test_a_request_id_of_a_stranger_that_is_none_of_ours_is_not_there(value: str) -> None:
    assert event_with("requestid", value) == PLAIN


@pytest.mark.parametrize(
    "value",
    [
        "1",
        "{}",
        f'"{TRACEPARENT.upper()}"',
        f'"{TRACEPARENT}-more"',
        f'"ff{TRACEPARENT[2:]}"',
        f'"00-{"0" * 32}-00f067aa0ba902b7-01"',
        f'"00-4bf92f3577b34da6a3ce929d0e0e4736-{"0" * 16}-01"',
    ],
)
def test_a_traceparent_that_names_no_span_is_not_there(value: str) -> None:
    assert event_with("traceparent", value) == PLAIN


@given(value=json_texts)
def test_no_event_is_lost_over_what_its_trail_is(value: str) -> None:
    for attribute in ("requestid", "traceparent"):
        event = event_with(attribute, value)
        assert (event.id, event.data) == (PLAIN.id, PLAIN.data)
        assert decode_event(b"c", encode_event(event)) == event

"""One record into one lane: what the fold agent and every replay have in common."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import Unreadable, encode_event
from schemas.events import LogEvent
from streams.core.outcome import Advanced, Appended, Refused
from streams.core.rows import message_key
from streams.folding import FoldedRecord, fold_record
from streams.tables.lane import Lane
from streams.tables.record import Record
from tests.support.fold import append, archived, measures, messages
from tests.support.tables import empty_lane

NOW_MS = 1_790_000_000_123


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    with empty_lane(tmp_path) as lane:
        yield lane


def record(event: LogEvent, offset: int, timestamp_ms: int = NOW_MS) -> Record:
    return Record(0, offset, timestamp_ms, event.subject.encode(), encode_event(event))


def taken(lane: Lane, event: LogEvent, timestamp_ms: int = NOW_MS) -> FoldedRecord:
    done = fold_record(lane, record(event, lane.next, timestamp_ms), measures)
    assert isinstance(done, FoldedRecord)
    return done


def test_an_event_moves_its_lane_on(lane: Lane) -> None:
    event = append(*messages(1, 2))
    done = taken(lane, event)
    assert done.event == event
    assert [folded.outcome for folded in done.results] == [Appended(1, 2, 1, (1, 2))]
    assert lane.next == 1
    assert [seq for seq, _ in lane.hot("c", range(1, 5))] == [1, 2]
    head = lane.head("c")
    assert head is not None
    assert (head.last_seq, head.offset) == (2, 0)


def test_a_record_that_can_not_be_understood_moves_it_on_too(lane: Lane) -> None:
    done = fold_record(lane, Record(0, 4, NOW_MS, b"c", b"hello"), measures)
    assert isinstance(done, Unreadable)
    assert lane.next == 5
    assert lane.lift().tails == {}


def test_a_head_never_comes_before_the_rows_that_it_counts(lane: Lane) -> None:
    """The two tables are two topics; within one, the order is that of the writes."""
    taken(lane, append(*messages(1)))
    taken(lane, append(*messages(2)))
    flight = lane.lift()
    rows = [key for key in flight.tails if b"\0m" in key]
    assert rows == [message_key(b"c", 1), message_key(b"c", 2)]
    assert next(iter(flight.windows)) == b"c"


def test_an_event_that_this_process_wrote_is_not_read_again(lane: Lane) -> None:
    event = append(*messages(1, 2))
    done = fold_record(lane, Record(0, 0, NOW_MS, b"c", b"unread", event), measures)
    assert isinstance(done, FoldedRecord)
    assert [folded.outcome for folded in done.results] == [Appended(1, 2, 1, (1, 2))]


def test_one_watermark_speaks_of_many_contexts(lane: Lane) -> None:
    for name in ("c", "d"):
        taken(lane, append(*messages(9000, 1), context=name))
    done = taken(lane, archived({"c": 2, "nobody": 1, "d": 1}))
    assert [(folded.context_id, type(folded.outcome)) for folded in done.results] == [
        ("c", Advanced),
        ("nobody", Refused),
        ("d", Advanced),
    ]
    assert lane.hot("c", range(1, 3))[0][0] == 2, "the first one is trimmed"


def test_a_record_out_of_order_is_a_bug(lane: Lane) -> None:
    taken(lane, append())
    with pytest.raises(AssertionError, match="in order, each once"):
        fold_record(lane, record(append(), 0), measures)


@pytest.mark.parametrize(
    ("timestamp_ms", "shown"),
    [
        (NOW_MS, "2026-09-21T14:13:20.123Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_no_clock_stops_a_partition(lane: Lane, timestamp_ms: int, shown: str) -> None:
    taken(lane, append(*messages(1)), timestamp_ms)
    ((_, body),) = lane.hot("c", range(1, 2))
    assert json.loads(body)["inserted_at"] == shown
    lane.store(lane.lift(), 1, 1)
    again = Lane(0, lane.windows, lane.tails, next_offset=1, target=1).head("c")
    assert again is not None
    assert again.updated_at == timestamp_ms

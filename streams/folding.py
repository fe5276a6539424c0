"""One record into one lane: what the fold agent does live, and every replay does again."""

from typing import NamedTuple

from schemas.codec import Unreadable, decode_event
from schemas.events import LogEvent
from streams.core.fold import At, Folded, fold
from streams.core.policies import Measures
from streams.tables.lane import Lane
from streams.tables.record import Record


class FoldedRecord(NamedTuple):
    """An event, and what it came to."""

    event: LogEvent
    results: tuple[Folded, ...]


def fold_record(lane: Lane, record: Record, measures: Measures) -> FoldedRecord | Unreadable:
    """Fold the record that comes next in a lane, and store what comes of it; or say why it can't be
    understood."""
    assert record.offset >= lane.next, "records are folded in order, each once"
    lane.next = record.offset + 1
    try:
        event = record.event or decode_event(record.key, record.value)
    except Unreadable as exc:
        return exc
    at = At(record.offset, record.timestamp_ms)
    results = []
    for folded in fold(event, at, lane, lane.tails, measures):
        for key, value in folded.writes.items():
            lane.tails.put(key, value)
        if folded.changed and folded.head is not None:
            lane.put_head(folded.context_id, folded.head)
        results.append(folded)
    return FoldedRecord(event, tuple(results))

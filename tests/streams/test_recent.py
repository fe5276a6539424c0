"""The rows of windows that were read last are the ones that the tail has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.core.rows import message_key
from streams.recent import SPARE, RecentRows
from streams.tables.lane import Lane
from tests.support.tables import empty_lane

ROW = b"x" * 100


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    with empty_lane(tmp_path) as lane:
        yield lane


def put(lane: Lane, context: bytes, seqs: range) -> list[bytes]:
    """Rows that say which they are."""
    rows = [b"%b %b %d" % (ROW, context, seq) for seq in seqs]
    for seq, row in zip(seqs, rows, strict=True):
        lane.tails.put(message_key(context, seq), row)
    return rows


def test_a_window_that_grows_and_moves_on_is_read_whole_each_time(lane: Lane) -> None:
    rows = put(lane, b"c", range(1, 301))
    recent = RecentRows(1 << 20)
    for last in range(10, 301, 7):
        first = max(1, last - 40)
        shown = recent.messages(lane, b"c", range(first, last + 1))
        assert shown == rows[first - 1 : last]


def test_what_is_known_is_not_read_again(lane: Lane) -> None:
    put(lane, b"c", range(1, 4))
    recent = RecentRows(1 << 20)
    before = recent.messages(lane, b"c", range(1, 4))
    lane.tails.put(message_key(b"c", 2), None)
    assert recent.messages(lane, b"c", range(1, 4)) == before


def test_a_row_that_is_not_there_may_come_later(lane: Lane) -> None:
    recent = RecentRows(1 << 20)
    assert recent.messages(lane, b"c", [1, 2]) == [None, None]
    rows = put(lane, b"c", range(1, 3))
    assert recent.messages(lane, b"c", [1, 2]) == rows


def test_another_owner_s_rows_are_read_anew(lane: Lane) -> None:
    """What the last one had folded may never have become durable."""
    put(lane, b"c", range(1, 3))
    recent = RecentRows(1 << 20)
    recent.messages(lane, b"c", [1, 2])
    again = Lane(0, lane.windows, lane.tails, next_offset=0, target=0)
    lane.tails.put(message_key(b"c", 2), None)
    assert recent.messages(again, b"c", [1, 2])[1] is None


def test_memory_stays_bounded(lane: Lane) -> None:
    recent = RecentRows(20_000)
    for number in range(50):
        context = b"context %d" % number
        rows = put(lane, context, range(1, 31))
        assert recent.messages(lane, context, range(1, 31)) == rows
        assert recent._size == sum(kept.size for kept in recent._kept.values()) <= 20_000
    assert recent._kept, "the last ones are kept"
    rows = put(lane, b"long", range(1, 2001))
    for last in range(20, 2001, 20):
        assert recent.messages(lane, b"long", range(last - 19, last + 1)) == rows[last - 20 : last]
        assert len(recent._kept[b"long"].rows) <= 2 * 20 + SPARE

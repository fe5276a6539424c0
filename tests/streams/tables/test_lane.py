"""A lane: heads that are kept decoded, and flights that reach both tables in one order."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rocksdict import DbClosedError, Rdict

from streams.core.head import Head, encode_head
from streams.core.rows import LOG_KEY, POSITION_KEY
from streams.core.tally import TALLY_KEY, encode_tally, tally_of
from streams.tables import lane as lanes
from streams.tables.lane import Lane, Outbound
from streams.tables.overlay import Overlay
from tests.support.tables import OFFSET_KEY, open_db

HEAD = Head(offset=3, created_at=1, updated_at=2)


@pytest.fixture
def dbs(tmp_path: Path) -> Iterator[tuple[Rdict, Rdict]]:
    windows, tails = (open_db(tmp_path / name) for name in ("windows", "tails"))
    yield windows, tails
    for db in (windows, tails):
        with suppress(DbClosedError):
            db.close()


@pytest.fixture
def lane(dbs: tuple[Rdict, Rdict]) -> Lane:
    return new_lane(dbs)


def new_lane(dbs: tuple[Rdict, Rdict], log_id: bytes | None = None) -> Lane:
    windows, tails = (Overlay(db, OFFSET_KEY) for db in dbs)
    return Lane(0, windows, tails, next_offset=5, target=8, log_id=log_id)


def test_a_head_comes_back_from_memory_and_from_the_disk(
    dbs: tuple[Rdict, Rdict], lane: Lane
) -> None:
    assert lane.head("ü") is None
    lane.put_head("ü", HEAD)
    assert lane.head("ü") is HEAD
    lane.store(lane.lift(), 1, None)
    assert new_lane(dbs).head("ü") == HEAD


def test_more_heads_than_are_kept_are_read_again(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "HEADS_KEPT", 2)
    for name in ("a", "b"):
        lane.put_head(name, HEAD)
    assert lane.head("a") is HEAD
    lane.put_head("c", HEAD)
    lane.store(lane.lift(), 1, None)
    assert lane.head("a") is HEAD, "the one that was used last stays"
    assert lane.head("b") is not HEAD
    assert lane.head("b") == HEAD


def test_the_contexts_are_listed_in_order_without_our_own_rows(lane: Lane) -> None:
    lane.put_head("b", HEAD)
    lane.store(lane.lift(), 1, None)
    lane.put_head("a", HEAD)
    lane.put_head("c", HEAD)
    assert [key for key, _ in lane.heads_from(b"")] == [b"a", b"b", b"c"]
    assert list(lane.heads_from(b"b")) == [(b"b", HEAD), (b"c", HEAD)]


def test_a_flight_carries_everything_and_the_position_behind_it(lane: Lane) -> None:
    lane.next = 7
    assert lane.unlifted == 2
    lane.put_head("a", HEAD)
    lane.tails.put(b"a\0m1", b"row")
    fact = Outbound("facts", b"a", b"{}", {})
    lane.emit(fact)
    flight = lane.lift()
    assert flight.windows == {
        b"a": encode_head(HEAD),
        TALLY_KEY: encode_tally(tally_of([HEAD])),
        POSITION_KEY: b"6",
    }
    assert flight.tails == {b"a\0m1": b"row"}
    assert flight.outbound == [fact]
    assert (flight.reached, lane.unlifted, lane.durable) == (7, 0, 5)

    lane.next = 8
    lane.store(flight, 11, 12)
    assert (lane.durable, lane.unlifted) == (7, 1)
    assert lane.lift().outbound == []


def test_however_many_heads_there_are_the_mark_comes_last(dbs: tuple[Rdict, Rdict]) -> None:
    """Whoever looks for the newest position, from the end, finds its log beside it."""
    lane = new_lane(dbs, log_id=b"id")
    for name in ("a", "b", "c"):
        lane.put_head(name, HEAD)
    assert list(lane.lift().windows)[-2:] == [LOG_KEY, POSITION_KEY]


def test_the_table_with_the_position_is_written_last(lane: Lane, dbs: tuple[Rdict, Rdict]) -> None:
    """So that a crash between the two leaves rows that are folded again, never a gap."""
    lane.put_head("a", HEAD)
    lane.tails.put(b"a\0m1", b"row")
    flight = lane.lift()
    windows, _ = dbs
    windows.close()
    with pytest.raises(DbClosedError):
        lane.store(flight, 11, 12)
    assert dict(dbs[1].items()) == {b"a\0m1": b"row", OFFSET_KEY: b"12"}
    assert lane.durable == 5


def test_it_has_caught_up_when_it_is_where_the_log_ended(lane: Lane) -> None:
    assert not lane.caught_up
    lane.next = 8
    assert lane.caught_up

"""Rows are read as soon as they are put, and reach the disk when their transaction is committed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Rdict

from streams.tables.overlay import Overlay
from tests.support.tables import OFFSET_KEY, open_db


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Rdict]:
    db = open_db(tmp_path / "db")
    yield db
    db.close()


def on_disk(db: Rdict) -> dict[bytes, bytes]:
    return dict(db.items())


def test_a_row_is_read_before_it_is_stored_and_after(db: Rdict) -> None:
    overlay = Overlay(db, OFFSET_KEY)
    overlay.put(b"a", b"1")
    assert overlay.get(b"a") == b"1"
    overlay.lift()
    assert overlay.get(b"a") == b"1"
    assert on_disk(db) == {}
    overlay.store(7)
    assert overlay.get(b"a") == b"1"
    assert on_disk(db) == {b"a": b"1", OFFSET_KEY: b"7"}


def test_the_newest_of_three_layers_counts(db: Rdict) -> None:
    overlay = Overlay(db, OFFSET_KEY)
    for key in (b"stored", b"flying", b"pending", b"gone"):
        overlay.put(key, b"stored")
    overlay.lift()
    overlay.store(1)
    for key in (b"flying", b"pending"):
        overlay.put(key, b"flying")
    overlay.put(b"gone", None)
    overlay.lift()
    overlay.put(b"pending", b"pending")

    keys = [b"pending", b"none", b"stored", b"gone", b"flying"]
    values = [b"pending", None, b"stored", None, b"flying"]
    assert overlay.get_many(keys) == values
    assert [overlay.get(key) for key in keys] == values
    there = {k: v for k, v in zip(keys, values, strict=True) if v is not None}
    assert list(overlay.items_from(b"")) == sorted(there.items())
    assert list(overlay.items_from(b"p")) == sorted(there.items())[1:]

    overlay.store(2)
    assert overlay.get_many(keys) == values
    overlay.lift()
    overlay.store(3)
    assert overlay.get_many(keys) == values
    assert list(overlay.items_from(b"")) == sorted(there.items())
    assert on_disk(db) == there | {OFFSET_KEY: b"3"}


def test_nothing_asked_for_is_nothing_read(db: Rdict) -> None:
    assert Overlay(db, OFFSET_KEY).get_many([]) == []


def test_a_row_written_again_goes_behind_what_came_before_it(db: Rdict) -> None:
    overlay = Overlay(db, OFFSET_KEY)
    for key in (b"head", b"row 1", b"head", b"row 2", b"head"):
        overlay.put(key, b"")
    assert list(overlay.lift()) == [b"row 1", b"row 2", b"head"]


def test_two_flights_at_once_are_a_bug(db: Rdict) -> None:
    overlay = Overlay(db, OFFSET_KEY)
    overlay.put(b"a", b"1")
    overlay.lift()
    with pytest.raises(AssertionError, match="stored before the next"):
        overlay.lift()


def test_what_is_on_the_disk_is_read_as_it_was_whatever_comes_after(db: Rdict) -> None:
    overlay = Overlay(db, OFFSET_KEY)
    for key in (b"b", b"a", b"\0position"):
        overlay.put(key, b"before")
    overlay.lift()
    overlay.store(1)
    rows = overlay.rows_stored()
    overlay.put(b"a", b"after")
    overlay.lift()
    overlay.store(2)
    assert list(rows) == [(b"\0position", b"before"), (b"a", b"before"), (b"b", b"before")]

"""One partition of one table: its RocksDB, under the rows that are not stored yet."""

from collections.abc import Iterator, Sequence
from heapq import merge
from operator import itemgetter
from typing import cast

from rocksdict import Rdict, WriteBatch

Writes = dict[bytes, bytes | None]
"""Rows to write, in order; None deletes."""


class Overlay:
    """Reads see a row as soon as it is put; RocksDB gets it when its transaction is committed.

    A row is pending until `lift()`, flying until `store()`. Nothing here waits.
    """

    def __init__(self, db: Rdict, offset_key: bytes) -> None:
        self._db = db
        self._offset_key = offset_key
        self._pending: Writes = {}
        self._flying: Writes = {}

    def get(self, key: bytes) -> bytes | None:
        """The newest value of a row, or None where there is none."""
        for rows in (self._pending, self._flying):
            if key in rows:
                return rows[key]
        value: bytes | None = self._db.get(key)
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The newest values, in the order of the keys, with one read of RocksDB."""
        if not keys:
            return []
        values = cast(list[bytes | None], self._db.get(list(keys)))
        for rows in (self._flying, self._pending):
            if rows:
                values = [rows.get(k, v) for k, v in zip(keys, values, strict=True)]
        return values

    def items_from(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The newest rows from a key on, in the order of the keys. To be used up before the next
        row is put."""
        unstored = self._flying | self._pending
        fresh = iter(sorted((k, v) for k, v in unstored.items() if k >= start))
        stored = (
            (k, v)
            for k, v in cast(Iterator[tuple[bytes, bytes]], self._db.items(from_key=start))
            if k not in unstored and k != self._offset_key
        )
        for key, value in merge(fresh, stored, key=itemgetter(0)):
            if value is not None:
                yield key, value

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a row. The last write of a key decides its place in the batch, so that a head never
        comes before the rows that it counts."""
        self._pending.pop(key, None)
        self._pending[key] = value

    def lift(self) -> Writes:
        """Take what is pending into the air. The former flight has to be stored."""
        assert not self._flying, "a flight is stored before the next one starts"
        self._flying, self._pending = self._pending, {}
        return self._flying

    def store(self, changelog_offset: int) -> None:
        """Write the flight to RocksDB together with the changelog offset that it has reached."""
        batch = WriteBatch(raw_mode=True)
        fill(batch, self._flying)
        batch.put(self._offset_key, b"%d" % changelog_offset)
        self._db.write(batch)
        self.landed()

    def landed(self) -> None:
        """The flight is in RocksDB, whoever wrote it there."""
        self._flying = {}

    def is_empty(self) -> bool:
        """Whether RocksDB holds no row."""
        return next(self.rows_stored(), None) is None

    def rows_stored(self) -> Iterator[tuple[bytes, bytes]]:
        """The rows that RocksDB holds now, in the order of the keys, whatever comes after.

        The iterator may be used in another thread; Faust's own bookkeeping is left out.
        """
        rows = cast(Iterator[tuple[bytes, bytes]], self._db.snapshot().items())
        return ((k, v) for k, v in rows if k != self._offset_key)


def fill(batch: WriteBatch, writes: Writes) -> None:
    """Put rows, and their deletions, into a batch."""
    for key, value in writes.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)

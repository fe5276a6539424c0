"""A node's disk: what RocksDB keeps, in dictionaries. It outlives the process, or it is lost."""

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.process import Process

OFFSET_KEY = b"__faust\0offset__"
UNSYNCED_BATCHES = 4
"""How many batches a machine without power may forget, of each table for itself."""

At = tuple[str, int]
Rows = dict[bytes, bytes]


class Batch:
    """Stands for `WriteBatch`."""

    def __init__(self, **_more: bool) -> None:
        self.rows: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        self.rows[key] = None


class Disk:
    """`tables`: by table and partition."""

    def __init__(self) -> None:
        self.tables: dict[At, Rows] = {}
        self._before: dict[At, deque[Rows]] = {}

    def write(self, at: At, batch: Batch) -> None:
        """All of a batch, or nothing."""
        rows = self.tables.setdefault(at, {})
        self._before.setdefault(at, deque(maxlen=UNSYNCED_BATCHES)).append(dict(rows))
        for key, value in batch.rows.items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value

    def lose_power(self, random: Random) -> None:
        """The newest batches were not synced yet."""
        for at, before in self._before.items():
            lost = random.randint(0, len(before))
            if lost:
                self.tables[at] = before[-lost]
            before.clear()

    def empty(self) -> None:
        self.tables.clear()
        self._before.clear()


class Db:
    """Stands for `Rdict`, opened by a process."""

    def __init__(self, process: "Process", at: At) -> None:
        self._process = process
        self._at = at
        self._closed = False

    @property
    def _rows(self) -> Rows:
        assert not self._closed, f"{self._at} is closed"
        return self._process.disk.tables.setdefault(self._at, {})

    def get(self, key: bytes | list[bytes]) -> bytes | list[bytes | None] | None:
        rows = self._rows
        return [rows.get(one) for one in key] if isinstance(key, list) else rows.get(key)

    def items(self, from_key: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        rows = self._rows
        return iter(sorted((key, value) for key, value in rows.items() if key >= from_key))

    def snapshot(self) -> "Db":
        return self

    def delete_range(self, first: bytes, last: bytes) -> None:
        rows = self._rows
        for key in [key for key in rows if first <= key < last]:
            del rows[key]

    def write(self, batch: Batch) -> None:
        assert not self._closed, f"{self._at} is closed"
        self._process.effect(f"writes RocksDB {self._at[0]}")
        self._process.disk.write(self._at, batch)
        self._process.stored(self._at)

    def close(self) -> None:
        self._closed = True

"""A broker: partitions with offsets, transactions with epochs, and markers that come later.

What a transaction decides is one step; its markers reach the partitions one after the other, and
until then a `read_committed` reader does not see beyond it. Each marker leaves a hole.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from tests.simulation.clock import Clock

OnWrite = Callable[[str, bytes | None, bytes | None], None]
"""Topic, key, value."""


class Stale(Exception):
    """The producer's epoch is not the newest: another one has taken its name."""


class Transaction:
    """`committed`: None while it is undecided. `logs`: where a marker is still to be written."""

    def __init__(self) -> None:
        self.committed: bool | None = None
        self.logs: dict[Log, None] = {}


class Entry(NamedTuple):
    """A record in a partition."""

    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    timestamp_ms: int
    transaction: Transaction | None


class Log:
    """One partition of one topic. None stands for a hole: a marker, or what compaction took."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.entries: list[Entry | None] = []
        self.open: dict[Transaction, int] = {}
        self.compacted_to = 0

    @property
    def end(self) -> int:
        return len(self.entries)

    @property
    def stable(self) -> int:
        """The offset before which every transaction is decided, and seen to be."""
        return min(self.open.values(), default=self.end)

    def append(self, entry: Entry) -> int:
        self.entries.append(entry)
        if entry.transaction is not None:
            self.open.setdefault(entry.transaction, self.end - 1)
            entry.transaction.logs[self] = None
        return self.end - 1

    def mark(self, transaction: Transaction) -> None:
        """Write the marker."""
        self.entries.append(None)
        del self.open[transaction]
        del transaction.logs[self]

    def read(
        self, start: int, limit: int | None = None, *, committed: bool = True
    ) -> tuple[list[tuple[int, Entry]], int]:
        """At most `limit` records from `start` on, and the offset that the read has reached."""
        end = self.stable if committed else self.end
        found: list[tuple[int, Entry]] = []
        for offset in range(start, end):
            entry = self.entries[offset]
            if entry is None or (
                committed and entry.transaction is not None and not entry.transaction.committed
            ):
                continue
            if len(found) == limit:
                return found, offset
            found.append((offset, entry))
        return found, max(start, end)

    def rows(self, upto: int | None = None) -> dict[bytes, bytes]:
        """What a changelog comes to, before an offset; a decided transaction counts although its
        marker is not here yet."""
        rows: dict[bytes, bytes] = {}
        for entry in self.entries[:upto]:
            if entry is None or (entry.transaction is not None and not entry.transaction.committed):
                continue
            assert entry.key is not None
            if entry.value is None:
                rows.pop(entry.key, None)
            else:
                rows[entry.key] = entry.value
        return rows

    def compact(self) -> None:
        """Keep the last committed record of each key; deletions stay."""
        found, _ = self.read(0)
        last = {entry.key: offset for offset, entry in found}
        for offset, entry in found:
            if last[entry.key] != offset:
                self.entries[offset] = None
        self.compacted_to = self.stable


class _Coordinator:
    def __init__(self) -> None:
        self.epoch = -1
        self.transaction: Transaction | None = None


class Broker:
    """`away_until`: nobody gets an answer before that time (seconds of the clock). `on_write` is
    told of each record."""

    def __init__(self, clock: Clock, on_write: OnWrite) -> None:
        self.away_until = 0.0
        self._on_write = on_write
        self._clock = clock
        self._logs: dict[tuple[str, int], Log] = {}
        self._coordinators: dict[str, _Coordinator] = {}

    @property
    def away(self) -> bool:
        return self._clock.now < self.away_until

    def log(self, topic: str, partition: int) -> Log:
        at = (topic, partition)
        if at not in self._logs:
            self._logs[at] = Log(topic, partition)
        return self._logs[at]

    def logs(self) -> list[Log]:
        return list(self._logs.values())

    def write(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Mapping[str, bytes],
        transaction: Transaction | None = None,
    ) -> int:
        """Append a record; its offset."""
        self._on_write(topic, key, value)
        entry = Entry(key, value, headers, self._clock.time_ms(), transaction)
        return self.log(topic, partition).append(entry)

    # -- transactions ---------------------------------------------------------------------------

    def fence(self, name: str) -> int:
        """Begin a new epoch: what the former one had open is aborted, what it had decided is
        finished."""
        coordinator = self._coordinators.setdefault(name, _Coordinator())
        self._decide(coordinator, commit=False)
        self._finish(coordinator)
        coordinator.epoch += 1
        return coordinator.epoch

    def transaction(self, name: str, epoch: int) -> Transaction:
        """The transaction that this producer writes into. Raises `Stale`."""
        coordinator = self._checked(name, epoch)
        if coordinator.transaction is not None and coordinator.transaction.committed is not None:
            self._finish(coordinator)
        if coordinator.transaction is None:
            coordinator.transaction = Transaction()
        return coordinator.transaction

    def end(self, name: str, epoch: int, *, commit: bool) -> None:
        """Decide it; asking again is no harm. Raises `Stale`."""
        self._decide(self._checked(name, epoch), commit=commit)

    def time_out(self, random: Random) -> bool:
        """Abort a transaction that took too long, and fence whoever had it."""
        undecided = [
            name
            for name, coordinator in self._coordinators.items()
            if coordinator.transaction is not None and coordinator.transaction.committed is None
        ]
        if undecided:
            self.fence(random.choice(undecided))
        return bool(undecided)

    def mark(self, random: Random) -> bool:
        """Write one of the markers that are due; whether there was one."""
        due = [
            coordinator
            for coordinator in self._coordinators.values()
            if coordinator.transaction is not None and coordinator.transaction.committed is not None
        ]
        if due:
            coordinator = random.choice(due)
            transaction = coordinator.transaction
            assert transaction is not None
            if transaction.logs:
                random.choice(list(transaction.logs)).mark(transaction)
            if not transaction.logs:
                coordinator.transaction = None
        return bool(due)

    def at_rest(self) -> bool:
        """Whether no transaction is under way."""
        return all(c.transaction is None for c in self._coordinators.values())

    def _checked(self, name: str, epoch: int) -> _Coordinator:
        coordinator = self._coordinators[name]
        if coordinator.epoch != epoch:
            raise Stale(f"{name} has epoch {coordinator.epoch}, not {epoch}")
        return coordinator

    def _decide(self, coordinator: _Coordinator, *, commit: bool) -> None:
        transaction = coordinator.transaction
        if transaction is not None and transaction.committed is None:
            transaction.committed = commit

    def _finish(self, coordinator: _Coordinator) -> None:
        if coordinator.transaction is not None:
            for log in list(coordinator.transaction.logs):
                log.mark(coordinator.transaction)
            coordinator.transaction = None

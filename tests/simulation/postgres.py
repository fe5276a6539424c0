"""Postgres, and the archive's writer over it: what a transaction of it does, in one step."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from streams.archive.errors import ArchiveUnavailable
from streams.archive.row import ArchiveRow, ArchiveUndo
from streams.archive.writer import Hole, Written
from tests.simulation.clock import Clock

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Postgres:
    """`away_until`: it does not answer before that time. `wrong`: alarms that must never come."""

    def __init__(self, clock: Clock) -> None:
        self.messages: dict[tuple[str, int], bytes] = {}
        self.archived: dict[str, int] = {}
        self.undos: dict[tuple[str, int], tuple[int, int]] = {}
        self.positions: dict[int, int] = {}
        self.away_until = 0.0
        self.wrong: list[str] = []
        self._clock = clock

    @property
    def away(self) -> bool:
        return self._clock.now < self.away_until

    def complete(self, context_id: str) -> int:
        """The seq up to which a context is here without a hole."""
        seq = self.archived.get(context_id, 0)
        while (context_id, seq + 1) in self.messages:
            seq += 1
        return seq

    def insert(self, rows: Sequence[ArchiveRow]) -> int:
        """Messages that are not there yet; a different one under the same seq is an alarm."""
        inserted = 0
        for row in rows:
            at = (row.context_id, row.seq)
            inserted += at not in self.messages
            if self.messages.setdefault(at, row.body) != row.body:
                self.wrong.append(f"Postgres is offered another message {at}")
        return inserted

    def advance(self, rows: Sequence[ArchiveRow]) -> dict[int, dict[str, int]]:
        """The watermarks of the contexts touched, by partition."""
        watermarks: dict[int, dict[str, int]] = {}
        for row in rows:
            context_id = row.context_id
            self.archived[context_id] = self.complete(context_id)
            watermarks.setdefault(row.partition, {})[context_id] = self.archived[context_id]
            if row.seq > self.archived[context_id]:
                self.wrong.append(f"the facts left out a message before {context_id} {row.seq}")
        return watermarks

    def undo(self, undos: Sequence[ArchiveUndo]) -> None:
        """Undos that are not there yet."""
        for undo in undos:
            at = (undo.context_id, undo.version)
            seqs = (undo.from_seq, undo.to_seq)
            if self.undos.setdefault(at, seqs) != seqs:
                self.wrong.append(f"Postgres is offered another undo {at}")

    def save(self, positions: Mapping[int, int]) -> None:
        for partition, position in positions.items():
            self.positions[partition] = max(position, self.positions.get(partition, 0))


class Writer:
    """Stands for `ArchiveWriter`."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._postgres = process.world.postgres

    def connect(self) -> None:
        self._ask("connects to Postgres")

    def close(self) -> None:
        """There is no connection."""

    def write(
        self,
        rows: Sequence[ArchiveRow],
        positions: Mapping[int, int],
        undos: Sequence[ArchiveUndo] = (),
    ) -> Written:
        """See `ArchiveWriter.write`: rows, watermarks, undos and positions in one transaction."""
        self._ask("writes Postgres")
        inserted = self._postgres.insert(rows)
        watermarks = self._postgres.advance(rows)
        self._postgres.undo(undos)
        self._postgres.save(positions)
        self._process.effect("has written Postgres")
        if self._process.world.happens("answer lost"):
            raise ArchiveUnavailable("the answer got lost", 1)
        return Written(attempted=len(rows), inserted=inserted, watermarks=watermarks)

    def positions(self, partitions: Collection[int]) -> dict[int, int]:
        self._ask("reads positions")
        return {p: self._postgres.positions[p] for p in partitions if p in self._postgres.positions}

    def rewind(self, partition: int, position: int) -> None:
        self._postgres.wrong.append(f"the facts of partition {partition} end before {position}")

    def holes(self, _partitions: Collection[int], **_more: object) -> list[Hole]:
        """There are none: no retention takes facts away here."""
        return []

    def count_holes(self, _partitions: Collection[int]) -> int:
        return 0

    def _ask(self, what: str) -> None:
        self._process.effect(what)
        if self._postgres.away:
            raise ArchiveUnavailable("Postgres is away", 1)

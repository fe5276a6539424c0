"""The order of effects, broken on purpose in the code that runs: one change each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from schemas.topics import TAILS, WINDOWS
from streams.agents.archive import ArchiveAgent
from streams.agents.fold import FoldAgent
from streams.core.rows import POSITION_KEY
from streams.membership import Membership
from streams.tables.journal import Journal
from streams.tables.lane import Lane, Outbound
from streams.tables.overlay import Overlay, Writes
from streams.tables.transaction import TransactionWriter
from tests.simulation.clients import Consumer
from tests.simulation.disk import OFFSET_KEY

Mutation = Callable[[pytest.MonkeyPatch], None]

_commit = TransactionWriter.commit
_flush_archive = ArchiveAgent._flush


async def _committed(journal: Journal, lane: Lane, flight: Any) -> tuple[int, int | None]:
    """What `Journal._flush` stores under: the offsets behind the last rows."""
    writer = journal._writers[lane.partition]
    offsets = await journal._in_thread(journal._commit, writer, flight)
    tails = offsets.get(journal._tables[TAILS].changelog)
    return offsets[journal._tables[WINDOWS].changelog] + 1, None if tails is None else tails + 1


def rocksdb_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    def stored(overlay: Overlay) -> int:
        return int(overlay._db.get(OFFSET_KEY) or -1)

    async def flush(self: Journal, lane: Lane) -> None:
        flight = lane.lift()
        lane.store(flight, stored(lane.windows), stored(lane.tails) if flight.tails else None)
        windows, tails = await _committed(self, lane, flight)
        if self.holds(lane):
            lane.store(flight, windows, tails)

    patch.setattr(Journal, "_flush", flush)


def source_offset_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    async def flush(self: Journal, lane: Lane) -> None:
        flight = lane.lift()
        lane.durable = flight.reached
        windows, tails = await _committed(self, lane, flight)
        if self.holds(lane):
            lane.store(flight, windows, tails)

    patch.setattr(Journal, "_flush", flush)


def stored_although_the_partition_went(patch: pytest.MonkeyPatch) -> None:
    async def flush(self: Journal, lane: Lane) -> None:
        flight = lane.lift()
        lane.store(flight, *await _committed(self, lane, flight))

    patch.setattr(Journal, "_flush", flush)


def no_fencing(patch: pytest.MonkeyPatch) -> None:
    """Each node writes under a name of its own."""

    def writer(self: Journal, partition: int) -> TransactionWriter:
        settings = self._settings
        name = f"{settings.prefix}-{partition}-{settings.node_id}"
        return TransactionWriter(settings.librdkafka(), name, partition, patience_s=600)

    patch.setattr(Journal, "_writer", writer)


def fenced_after_the_restore(patch: pytest.MonkeyPatch) -> None:
    """The former owner is shut out only when there is something to write."""
    fence = TransactionWriter.open

    def commit(
        self: TransactionWriter, rows: Mapping[str, Writes], outbound: Sequence[Outbound]
    ) -> dict[str, int]:
        if self._producer._epoch < 0:
            fence(self)
        return _commit(self, rows, outbound)

    patch.setattr(TransactionWriter, "open", lambda _self: None)
    patch.setattr(TransactionWriter, "commit", commit)


def position_in_another_transaction(patch: pytest.MonkeyPatch) -> None:
    def commit(
        self: TransactionWriter, rows: Mapping[str, Writes], outbound: Sequence[Outbound]
    ) -> dict[str, int]:
        (windows,) = (topic for topic, writes in rows.items() if POSITION_KEY in writes)
        position = {POSITION_KEY: rows[windows][POSITION_KEY]}
        rest = {key: value for key, value in rows[windows].items() if key != POSITION_KEY}
        last = _commit(self, {**rows, windows: rest}, outbound)
        return last | _commit(self, {windows: position}, [])

    patch.setattr(TransactionWriter, "commit", commit)


def facts_in_another_transaction(patch: pytest.MonkeyPatch) -> None:
    def commit(
        self: TransactionWriter, rows: Mapping[str, Writes], outbound: Sequence[Outbound]
    ) -> dict[str, int]:
        last = _commit(self, rows, [])
        _commit(self, {}, outbound)
        return last

    patch.setattr(TransactionWriter, "commit", commit)


def a_commit_without_an_answer_is_done_again(patch: pytest.MonkeyPatch) -> None:
    def end(self: TransactionWriter, deadline: float) -> None:
        self._producer.commit_transaction(10)

    def again(self: TransactionWriter, exc: Exception, deadline: float) -> None:
        if not exc.args[0].retriable():
            give_up(self, exc, deadline)

    give_up: Any = TransactionWriter._abort_or_give_up
    patch.setattr(TransactionWriter, "_end", end)
    patch.setattr(TransactionWriter, "_abort_or_give_up", again)


def gaps_are_holes(patch: pytest.MonkeyPatch) -> None:
    """What Faust leaves out is not looked for."""

    async def fill(self: FoldAgent, lane: Lane, end: int) -> None:
        lane.next = max(lane.next, end)
        self._journal.folded(lane)

    patch.setattr(FoldAgent, "_fill", fill)


def readers_see_what_was_aborted(patch: pytest.MonkeyPatch) -> None:
    made = Consumer.__init__

    def make(self: Consumer, process: Any, config: Mapping[str, Any]) -> None:
        made(self, process, {k: v for k, v in config.items() if k != "isolation.level"})

    patch.setattr(Consumer, "__init__", make)


def archive_position_before_the_announcement(patch: pytest.MonkeyPatch) -> None:
    def flush(self: ArchiveAgent) -> None:
        for lane in self._lanes.values():
            lane.announced = lane.next
        _flush_archive(self)

    patch.setattr(ArchiveAgent, "_flush", flush)


def announcement_before_postgres(patch: pytest.MonkeyPatch) -> None:
    def flush(self: ArchiveAgent) -> None:
        watermarks: dict[int, dict[str, int]] = {}
        for row in self._pending.rows:
            watermarks.setdefault(row.partition, {})[row.context_id] = row.seq
        self._herald.announce(watermarks, {})
        _flush_archive(self)

    patch.setattr(ArchiveAgent, "_flush", flush)


def whoever_was_stopped_goes_on_reading(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Membership, "doubt", None)


def what_a_node_wrote_is_folded_out_of_turn(patch: pytest.MonkeyPatch) -> None:
    def fold_written(self: FoldAgent, lane: Lane) -> None:
        while lane.written:
            record = lane.written.popleft()
            if record.offset >= lane.next:
                self._fold(lane, record)
        if lane.unlifted:
            self._journal.folded(lane)

    patch.setattr(FoldAgent, "_fold_written", fold_written)


MUTATIONS: tuple[Mutation, ...] = (
    rocksdb_before_the_commit,
    source_offset_before_the_commit,
    stored_although_the_partition_went,
    no_fencing,
    fenced_after_the_restore,
    position_in_another_transaction,
    facts_in_another_transaction,
    a_commit_without_an_answer_is_done_again,
    gaps_are_holes,
    readers_see_what_was_aborted,
    archive_position_before_the_announcement,
    announcement_before_postgres,
    whoever_was_stopped_goes_on_reading,
    what_a_node_wrote_is_folded_out_of_turn,
)

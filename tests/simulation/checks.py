"""What must hold in every world, while it runs and when it has come to rest."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from schemas.codec import decode_event, decode_fact
from schemas.events import ArchiveAdvanced, LogEvent
from schemas.facts import Fact, MessageAccepted, UndoAccepted
from schemas.topics import TAILS, WINDOWS
from streams.archive.row import row_of
from streams.core.head import Head
from streams.core.outcome import Appended
from streams.core.rows import POSITION_KEY
from streams.store import Answered
from streams.tables.digest import Digest
from streams.tables.transaction import Fenced
from tests.simulation.broker import Log
from tests.simulation.disk import OFFSET_KEY, At
from tests.simulation.replay import Replayed, digest, replay

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

MAY_END_WITH = (Fenced, KafkaException)
"""A node that can't go on ends, and is started again. Anything else is a bug."""


class Checks:
    """`wrong`: what did not hold; one line is enough to fail. `told`: the newest version of each
    context that a user was told of."""

    def __init__(self, world: "World") -> None:
        self.wrong: list[str] = []
        self._world = world
        self.told: defaultdict[str, int] = defaultdict(int)
        self._acknowledged: list[tuple[LogEvent, Answered]] = []

    # -- while it runs --------------------------------------------------------------------------

    def acknowledge(self, event: LogEvent, answered: Answered) -> None:
        """A user was told this."""
        self._acknowledged.append((event, answered))
        if answered.head is not None:
            self.told[event.subject] = max(self.told[event.subject], answered.head.version)

    def read(self, process: "Process", context_id: str, head: Head | None, told: int) -> None:
        """A user read this; when it asked, users had been told of another version."""
        version = 0 if head is None else head.version
        if version < told:
            self.wrong.append(
                f"{process.name} showed version {version} of {context_id}, users knew of {told}"
            )

    def may_end_with(self, reason: Exception) -> None:
        """A process ends."""
        if not isinstance(reason, MAY_END_WITH):
            self.wrong.append(f"a node ended: {reason!r}")

    def group_offsets(self, offsets: Mapping[int, int]) -> None:
        """The source offset is committed last: after the position that covers it."""
        for partition, offset in offsets.items():
            log = self._changelog(WINDOWS, partition)
            position = int(log.rows().get(POSITION_KEY, b"-1"))
            if offset > position + 1:
                self.wrong.append(f"offset {offset} is committed at position {position}")

    def not_ahead(self, process: "Process", at: At) -> None:
        """RocksDB holds nothing that the changelog may still lose."""
        log = self._world.broker.log(*at)
        stored = int(process.disk.tables[at][OFFSET_KEY])
        undecided = [first for tx, first in log.open.items() if tx.committed is None]
        if stored > log.end or any(first <= stored for first in undecided):
            self.wrong.append(f"{process.name} {at} is at {stored}, ahead of its changelog")

    def table(self, process: "Process", at: At) -> None:
        """RocksDB is what the changelog was at the offset that it has."""
        rows = dict(process.disk.tables[at])
        upto = int(rows.pop(OFFSET_KEY, b"-1")) + 1
        log = self._world.broker.log(*at)
        if upto >= log.compacted_to and rows != log.rows(upto):
            self.wrong.append(f"{process.name} {at} differs from its changelog before {upto}")

    def written(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """A watermark that gets into the log is one that Postgres holds."""
        if topic != self._world.topics.log or value is None or b"archive.advanced" not in value:
            return
        event = decode_event(key, value)
        assert isinstance(event.data, ArchiveAdvanced)
        for context_id, seq in event.data.watermarks:
            if seq > self._world.postgres.complete(context_id):
                self.wrong.append(f"the watermark {seq} of {context_id} is above Postgres")

    # -- at rest --------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """Everything is folded, durable and archived: now all of it has to fit together."""
        self.wrong += self._world.postgres.wrong
        replays = [replay(self._world, p) for p in range(self._world.partitions)]
        for partition, replayed in enumerate(replays):
            self._state(partition, replayed)
            self._published(partition, replayed)
        self._answers(replays)
        self._sequences(replays)
        self._archive(replays)

    def _state(self, partition: int, replayed: Replayed) -> None:
        owner = self._world.owner_of(partition)
        assert owner is not None, "at rest every partition has an owner"
        for process in self._world.processes.values():
            for table in (WINDOWS, TAILS):
                at = (self._world.topics.changelog(table), partition)
                if at in process.disk.tables:
                    self.table(process, at)
        windows, tails = (self._changelog(table, partition).rows() for table in (WINDOWS, TAILS))
        self._same("the changelogs", digest(partition, windows, tails), replayed.digest)
        windows, tails = (
            owner.disk.tables.get((self._world.topics.changelog(table), partition), {})
            for table in (WINDOWS, TAILS)
        )
        self._same("the tables", digest(partition, windows, tails), replayed.digest)

    def _same(self, what: str, found: Digest, replayed: Digest) -> None:
        if found != replayed:
            self.wrong.append(f"{what} differ from a replay of the log: {found}, {replayed}")

    def _published(self, partition: int, replayed: Replayed) -> None:
        """Facts and dead letters: each once, in order."""
        for topic in (self._world.topics.facts, self._world.topics.dead):
            found = [
                (entry.key, entry.value, entry.headers)
                for _, entry in self._world.broker.log(topic, partition).read(0)[0]
            ]
            expected = [
                (out.key, out.value, out.headers) for out in replayed.outbound if out.topic == topic
            ]
            if found != expected:
                twice = [record for n, record in enumerate(found) if record in found[:n]]
                self.wrong.append(
                    f"{topic}/{partition} holds {len(found)} records, {len(twice)} of them again; "
                    f"a replay makes {len(expected)}"
                )

    def _answers(self, replays: list[Replayed]) -> None:
        """What users were told is what the log comes to; and nothing is done twice."""
        for event, answered in self._acknowledged:
            answers = [
                answer for r in replays for answer in r.answers.get((event.subject, event.id), [])
            ]
            if answered not in answers:
                self.wrong.append(f"{event.id} was answered {answered}, a replay says {answers}")
        for replayed in replays:
            for (_, event_id), answers in replayed.answers.items():
                if not _once(answers):
                    self.wrong.append(f"{event_id} was done twice")

    def _sequences(self, replays: list[Replayed]) -> None:
        seqs: defaultdict[str, list[int]] = defaultdict(list)
        for context_id, seq, _ in self._accepted(replays):
            seqs[context_id].append(seq)
        for context_id, found in seqs.items():
            if found != list(range(1, len(found) + 1)):
                self.wrong.append(f"the seqs of {context_id} are {found}")

    def _archive(self, replays: list[Replayed]) -> None:
        postgres = self._world.postgres
        accepted = {(name, seq): body for name, seq, body in self._accepted(replays)}
        if postgres.messages != accepted:
            self.wrong.append(
                f"Postgres holds {len(postgres.messages)} messages, {len(accepted)} were accepted"
            )
        if postgres.undos != (undone := dict(self._undone(replays))):
            self.wrong.append(f"Postgres holds the undos {postgres.undos}, the facts {undone}")
        for replayed in replays:
            for context_id, archived_seq in replayed.watermarks.items():
                if archived_seq != postgres.complete(context_id):
                    self.wrong.append(
                        f"{context_id} is archived up to {postgres.complete(context_id)}, its head "
                        f"says {archived_seq}"
                    )

    def _accepted(self, replays: list[Replayed]) -> Iterator[tuple[str, int, bytes]]:
        """What a reader of the facts sees: each message with its seq."""
        for partition, context_id, fact in self._facts(replays):
            if isinstance(fact, MessageAccepted):
                row = row_of(partition, context_id, bytes(fact.message), fact.event_id)
                yield context_id, row.seq, row.body

    def _undone(self, replays: list[Replayed]) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
        """And each undo: context and version, and the seqs."""
        for _, context_id, fact in self._facts(replays):
            if isinstance(fact, UndoAccepted):
                yield (context_id, fact.version), (fact.from_seq, fact.to_seq)

    def _facts(self, replays: list[Replayed]) -> Iterator[tuple[int, str, Fact]]:
        for partition in range(len(replays)):
            log = self._world.broker.log(self._world.topics.facts, partition)
            for _, entry in log.read(0)[0]:
                assert entry.value is not None
                yield (partition, *decode_fact(entry.value))

    def _changelog(self, table: str, partition: int) -> Log:
        return self._world.broker.log(self._world.topics.changelog(table), partition)


def _once(answers: list[Answered]) -> bool:
    """Whether an append was done once, or again only after its key had left with its message."""
    last_seq = 0
    for answered in answers:
        match answered.outcome:
            case Appended(last_seq=seq, replayed=False):
                assert answered.head is not None
                if last_seq > answered.head.trimmed_seq:
                    return False
                last_seq = seq
    return True

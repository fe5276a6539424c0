"""The journal and the fold agent over plain RocksDBs: real tables and a real broker, no Faust.

Faust's part is played by the test: it says which partitions are owned, and delivers records.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace

from confluent_kafka import Message
from rocksdict import Options, Rdict

from schemas.topics import TAILS, WINDOWS
from streams import encodings
from streams.agents.fold import FoldAgent
from streams.live import Live
from streams.metrics import Metrics
from streams.tables.digest import Digest, digest_of
from streams.tables.journal import Journal
from streams.tables.lane import Lane
from streams.tables.overlay import Overlay
from streams.tables.record import Record
from streams.tables.source import Source
from streams.waiters import Waiters
from tests.support.deployment import Deployment
from tests.support.wait import until_async

OFFSET_KEY = b"__faust\0offset__"


def open_db(path: Path) -> Rdict:
    """A RocksDB as Faust opens one."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    return Rdict(str(path), options)


@contextmanager
def empty_lane(folder: Path) -> Iterator[Lane]:
    """A lane with nothing in it, over a disk of its own."""
    dbs = [open_db(folder / name) for name in ("windows", "tails")]
    windows, tails = (Overlay(db, OFFSET_KEY) for db in dbs)
    yield Lane(0, windows, tails, next_offset=0, target=0)
    for db in dbs:
        db.close()


class PlainTable:
    """What the journal needs of a table."""

    offset_key = OFFSET_KEY

    def __init__(self, folder: Path, changelog: str) -> None:
        self.changelog = changelog
        self.dbs: dict[int, Rdict] = {}
        self._path = folder / changelog
        self._owned: set[int] = set()

    def db(self, partition: int) -> Rdict:
        if partition not in self.dbs:
            self._path.mkdir(parents=True, exist_ok=True)
            self.dbs[partition] = open_db(self._path / str(partition))
        return self.dbs[partition]

    def assign(self, partitions: Iterable[int]) -> None:
        self._owned = set(partitions)

    def owned(self) -> set[int]:
        return self._owned

    def close(self) -> None:
        for db in self.dbs.values():
            db.close()
        self.dbs = {}


class Tables:
    """One node's tables. `failures`: what the journal could not go on after."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.deployment = deployment
        self.failures: list[Exception] = []
        self.waiters = Waiters()
        self.metrics = Metrics()
        settings, topics = deployment.settings, deployment.topics
        self.source = Source(deployment.kafka, topics.log)
        self.windows, self.tails = (
            PlainTable(folder, topics.changelog(table)) for table in (WINDOWS, TAILS)
        )
        self.journal = Journal(
            settings,
            self.source,
            self.windows,  # type: ignore[arg-type]
            self.tails,  # type: ignore[arg-type]
            self.failures.append,
            self.metrics,
        )
        self.agent = FoldAgent(
            topics,
            self.journal,
            self.source,
            self.waiters,
            Live(),
            encodings.measure,
            self.metrics,
        )
        self._delivering: list[asyncio.Task[None]] = []
        self._running: asyncio.Task[None] | None = None

    async def own(self, *partitions: int) -> Lane:
        """Take partitions, as at an assignment; the lane of the first one."""
        self.windows.assign(partitions)
        await self.journal.own(partitions)
        return self.journal.lanes[partitions[0]]

    def lane(self, partition: int = 0) -> Lane:
        return self.journal.lanes[partition]

    def deliver(self, *records: Message) -> None:
        """Records come out of Faust, in this order."""
        if self._running is None:
            self._running = asyncio.create_task(self.agent.run())
        self._delivering.append(asyncio.create_task(self._arrive(records)))

    async def _arrive(self, records: Sequence[Message]) -> None:
        for record in records:
            await self.agent.arrive(record.partition(), [_as_aiokafka_has_it(record)])

    def wrote(self, *records: Message) -> None:
        """This node wrote these records, and the broker has them."""
        self.agent.written(
            [
                Record(m.partition, m.offset, m.timestamp, m.key, m.value)
                for m in map(_as_aiokafka_has_it, records)
            ]
        )

    async def read_on(self, partition: int = 0) -> Lane:
        """Fold what the log holds, and make it durable."""
        lane = self.lane(partition)
        await self.agent.read_on(lane, self.source.bounds(partition).end)
        await self.journal.settled()
        return lane

    async def folded(self, partition: int = 0) -> Digest:
        """The digest of the tables, once they have everything that the log holds."""
        end = self.deployment.end(partition)

        async def durable() -> bool:
            assert not self.failures
            if self._running is not None and self._running.done():
                self._running.result()
            return self.lane(partition).durable == end

        await until_async(durable, "everything is folded and durable")
        return self.digest(partition)

    def digest(self, partition: int = 0) -> Digest:
        """What is in RocksDB."""
        lane = self.lane(partition)
        return digest_of(partition, lane.windows.rows_stored(), lane.tails.rows_stored())

    async def close(self) -> None:
        running = [task for task in (self._running, *self._delivering) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.journal.settled()
        self.journal.forget()
        for table in (self.windows, self.tails):
            table.close()
        self.source.close()


@asynccontextmanager
async def tables_of(deployment: Deployment, folder: Path) -> AsyncIterator[Tables]:
    """Tables over a folder, closed at the end: what is opened over it next finds them on disk."""
    tables = Tables(deployment, folder)
    try:
        yield tables
    finally:
        await tables.close()


def _as_aiokafka_has_it(record: Message) -> SimpleNamespace:
    return SimpleNamespace(
        partition=record.partition(),
        offset=record.offset(),
        timestamp=record.timestamp()[1],
        key=record.key(),
        value=record.value(),
    )

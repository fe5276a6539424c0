"""The journal: what makes the two tables durable, one Kafka transaction a batch and partition.

RocksDB is never ahead of the changelog, and the position row is in the same transaction as what
came of the events up to it. So a crash leaves either all of a batch or nothing, and a node that
lost a partition can write nothing at all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException

from schemas.topics import TAILS, WINDOWS
from streams.core.rows import LOG_KEY, POSITION_KEY
from streams.group import STARTING
from streams.metrics import Metrics
from streams.settings import StreamSettings
from streams.tables.lane import Flight, Lane
from streams.tables.overlay import Overlay
from streams.tables.restore import TablesUnfit, of_another_log, outgrown, restore
from streams.tables.source import MOVING, Bounds, Source
from streams.tables.table import JournaledTable
from streams.tables.transaction import Fenced, TransactionWriter
from streams.topics import topic_id

T = TypeVar("T")

log = structlog.get_logger()

UNFLUSHED_EVENTS_MAX: Final = 4000
"""Events folded and not yet committed, over all lanes; beyond it nothing more is folded."""

PACE_S: Final = 0.2
"""A lane begins a transaction at most every `PACE_S`: one costs the broker some 4 ms of CPU, be it
of one row or of two hundred, and no answer waits for it. An idle lane flushes at once."""

OUTAGE: Final = (
    *MOVING,
    *STARTING,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError.REQUEST_TIMED_OUT,
)
"""What is heard where a broker is away, or has just taken over."""
RETRY_S: Final = 0.5

REJOIN_S: Final = 5.0
"""How much longer than two sessions a fenced node may wait for its next assignment."""

THREADS_MAX: Final = 64


def say_lost(partition: int, first: int, kept_from: int) -> None:
    """The alarm for a hole that no transaction left."""
    log.error(
        "events were deleted by retention before they were folded; their effects are lost",
        partition=partition,
        first=first,
        last=kept_from - 1,
    )


class Journal:
    """Owns the lanes. `on_failure` is told of what the node can't go on after.

    `lanes` holds a lane for each partition that can be folded and read now. `unbroken`: those of
    them in which nobody has folded what we had not, since we had them last.
    """

    def __init__(
        self,
        settings: StreamSettings,
        source: Source,
        windows: JournaledTable,
        tails: JournaledTable,
        on_failure: Callable[[Exception], None],
        metrics: Metrics | None = None,
    ) -> None:
        self.lanes: dict[int, Lane] = {}
        self.unbroken: set[int] = set()
        self.rows_restored = 0
        self._settings = settings
        self._source = source
        self._tables: Mapping[str, JournaledTable] = {WINDOWS: windows, TAILS: tails}
        self._on_failure = on_failure
        self._metrics = Metrics() if metrics is None else metrics
        self._writers: dict[int, TransactionWriter] = {}
        self._left: dict[int, int] = {}
        self._log_id = b""
        self._threads = ThreadPoolExecutor(THREADS_MAX, "journal")
        self._hurry = asyncio.Event()
        self._moved = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    # -- ownership ------------------------------------------------------------------------------

    async def own(self, partitions: Collection[int]) -> None:
        """Take these partitions, and only these, into our hands:

        1. forget every lane of the former assignment;
        2. fence whoever wrote the partitions before, ourselves included, and ask which log it is;
        3. restore both tables up to the end of their changelogs;
        4. leave out the partitions that somebody has written since: they have another owner by now,
           and the two tables may be of different moments;
        5. open a lane at the offset behind the position row.

        When a broker goes away meanwhile, all of it is done again. Raises `TablesUnfit`,
        `KafkaException`.
        """
        deadline = time.monotonic() + self._settings.outage_patience_s
        while True:
            try:
                return await self._take(partitions)
            except KafkaException as exc:
                if exc.args[0].code() not in OUTAGE or time.monotonic() > deadline:
                    raise
                log.warning("partitions can't be taken, trying again", why=str(exc))
            await asyncio.sleep(RETRY_S)

    async def _take(self, partitions: Collection[int]) -> None:
        started = time.monotonic()
        self.forget()
        self._writers = {p: self._writer(p) for p in partitions}
        fenced = asyncio.gather(*(self._in_thread(w.open) for w in self._writers.values()))
        self._log_id, _ = await asyncio.gather(self._ask_which_log(), fenced)
        restored = await asyncio.gather(
            *(self._in_thread(self._restore, table, partitions) for table in self._tables.values())
        )
        self.rows_restored += sum(restored)
        bounds = await asyncio.gather(
            *(self._in_thread(self._source.bounds, p) for p in partitions)
        )
        grown = await asyncio.gather(
            *(self._in_thread(self._outgrown, table, partitions) for table in self._tables.values())
        )
        lost = set[int]().union(*grown)
        self.lanes = {
            p: self._lane(p, b) for p, b in zip(partitions, bounds, strict=True) if p not in lost
        }
        self.unbroken = {p for p, lane in self.lanes.items() if lane.next <= self._left.get(p, -1)}
        for partition in lost:
            self._lost(partition, Fenced(f"partition {partition} was written during its restore"))
        log.info(
            "partitions taken",
            partitions=sorted(partitions),
            rows_restored=sum(restored),
            seconds=round(time.monotonic() - started, 2),
        )

    async def _ask_which_log(self) -> bytes:
        settings = self._settings
        log_id = await self._in_thread(topic_id, settings.librdkafka(), settings.topics.log)
        return log_id.encode()

    def _writer(self, partition: int) -> TransactionWriter:
        return TransactionWriter(
            self._settings.librdkafka(),
            f"{self._settings.prefix}-{partition}",
            partition,
            patience_s=self._settings.outage_patience_s,
        )

    def _restore(self, table: JournaledTable, partitions: Collection[int]) -> int:
        dbs = {p: table.db(p) for p in partitions}
        return restore(self._settings.librdkafka(), table.changelog, dbs, table.offset_key)

    def _outgrown(self, table: JournaledTable, partitions: Collection[int]) -> set[int]:
        dbs = {p: table.db(p) for p in partitions}
        return outgrown(self._settings.librdkafka(), table.changelog, dbs, table.offset_key)

    def _lane(self, partition: int, bounds: Bounds) -> Lane:
        windows, tails = (
            Overlay(table.db(partition), table.offset_key) for table in self._tables.values()
        )
        position = windows.get(POSITION_KEY)
        if position is None and not (windows.is_empty() and tails.is_empty()):
            raise TablesUnfit(
                f"the tables of partition {partition} hold rows but no position: a rebuild was "
                "interrupted; run `rewindow rebuild` again"
            )
        # None: they come from a version that did not write it.
        if windows.get(LOG_KEY) not in (None, self._log_id):
            raise of_another_log(self._settings.topics.log, partition)
        next_offset = bounds.start if position is None else int(position) + 1
        if next_offset > bounds.end:
            raise TablesUnfit(
                f"the tables of partition {partition} are at offset {next_offset - 1}, the log "
                f"ends at {bounds.end}: it has lost events, or was made anew; run `rewindow "
                "rebuild`"
            )
        if next_offset < bounds.start:
            say_lost(partition, next_offset, bounds.start)
            next_offset = bounds.start
        return Lane(
            partition,
            windows,
            tails,
            next_offset=next_offset,
            target=bounds.end,
            log_id=self._log_id,
        )

    def forget(self) -> None:
        """Drop every lane; what a transaction still has in the air is for its successor to find."""
        for partition in list(self.lanes):
            self._drop(partition)
        for writer in self._writers.values():
            writer.abandon()
        self._writers = {}
        self._make_room()

    def _drop(self, partition: int) -> None:
        self._left[partition] = self.lanes.pop(partition).next
        if (writer := self._writers.pop(partition, None)) is not None:
            writer.abandon()

    async def check_log(self) -> None:
        """See whether the log is still the one of the lanes: where it was made anew quickly, nobody
        is told. Raises `TablesUnfit`, `KafkaException`."""
        lanes = list(self.lanes.values())
        log_id = await self._ask_which_log()
        for lane in lanes:
            if self.holds(lane) and log_id != self._log_id:
                raise of_another_log(self._settings.topics.log, lane.partition)

    # -- group commit ---------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether more may be folded."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until more may be folded."""
        await self._room.wait()

    def folded(self, lane: Lane) -> None:
        """Say that events of this lane were folded; they are committed soon."""
        if lane.flushing is None:
            lane.flushing = asyncio.create_task(self._keep_flushing(lane))
        if self._unflushed() >= UNFLUSHED_EVENTS_MAX:
            self._room.clear()

    async def settled(self) -> None:
        """Wait until everything folded so far is durable; what is folded meanwhile need not be."""
        awaited = [(lane, lane.next) for lane in self.lanes.values()]
        self._hurry.set()
        try:
            while any(self._will_reach(lane, goal) for lane, goal in awaited):
                await self._moved.wait()
        finally:
            self._hurry.clear()

    def _will_reach(self, lane: Lane, goal: int) -> bool:
        return self.holds(lane) and lane.durable < goal and lane.flushing is not None

    def holds(self, lane: Lane) -> bool:
        """Whether a lane is still ours; one that is not may not be folded into or stored."""
        return self.lanes.get(lane.partition) is lane

    def durable(self) -> dict[int, int]:
        """For each partition the log offset behind the last event that is in the tables."""
        return {p: lane.durable for p, lane in self.lanes.items()}

    async def _keep_flushing(self, lane: Lane) -> None:
        try:
            while self.holds(lane) and lane.unlifted:
                await self._pace(lane.flushed_at + PACE_S - time.monotonic())
                # It may have gone meanwhile, and have come back as another lane.
                if self.holds(lane):
                    lane.flushed_at = time.monotonic()
                    await self._flush(lane)
        except Fenced as exc:
            self._fenced(lane, exc)
        except Exception as exc:
            self._on_failure(exc)
        finally:
            lane.flushing = None
            self._say_moved()

    async def _pace(self, seconds: float) -> None:
        """Put a transaction off, unless somebody waits for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _flush(self, lane: Lane) -> None:
        """One batch, in this order and no other:

        1. rows, facts and position go to Kafka in one transaction;
        2. RocksDB is written, the table with the position last;
        3. the overlay is dropped and the source offset may be committed.
        """
        began = time.monotonic()
        flight = lane.lift()
        offsets = await self._in_thread(self._commit, self._writers[lane.partition], flight)
        if not self.holds(lane):
            return
        tails = offsets.get(self._tables[TAILS].changelog)
        windows = offsets[self._tables[WINDOWS].changelog]
        # The marker of the commit lies behind the last row.
        lane.store(flight, windows + 1, None if tails is None else tails + 1)
        self._metrics.flush_duration.observe(time.monotonic() - began)
        self._make_room()
        self._say_moved()

    def _say_moved(self) -> None:
        """Something became durable, or will not."""
        self._moved.set()
        self._moved = asyncio.Event()

    def _commit(self, writer: TransactionWriter, flight: Flight) -> dict[str, int]:
        rows = {
            self._tables[name].changelog: writes
            for name, writes in ((TAILS, flight.tails), (WINDOWS, flight.windows))
            if writes
        }
        return writer.commit(rows, flight.outbound)

    def _fenced(self, lane: Lane, exc: Fenced) -> None:
        """Nothing was stored. We are about to learn that we were expelled, and to be assigned."""
        if self.holds(lane):
            self._drop(lane.partition)
            self._make_room()
            self._lost(lane.partition, exc)

    def _lost(self, partition: int, exc: Fenced) -> None:
        self._metrics.fenced.inc()
        log.warning("fenced: the partition has another owner now", why=str(exc))
        patience_s = 2 * self._settings.session_timeout_s + REJOIN_S
        asyncio.get_running_loop().call_later(patience_s, self._still_without, partition, exc)

    def _still_without(self, partition: int, exc: Fenced) -> None:
        owned = self._tables[WINDOWS].owned()
        if partition in owned and partition not in self.lanes:
            self._on_failure(exc)

    def _unflushed(self) -> int:
        return sum(lane.next - lane.durable for lane in self.lanes.values())

    def _make_room(self) -> None:
        if self._unflushed() < UNFLUSHED_EVENTS_MAX:
            self._room.set()

    def _in_thread(self, f: Callable[..., T], *args: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, f, *args)

"""Every private name of Faust that Rewindow needs, each with its reason. Nothing else touches them.

Faust is pinned to 0.15.3; `tests/streams/test_faust_seams.py` fails when a new version changes one.
"""

import asyncio
import inspect
import types
from collections.abc import Coroutine, Generator, Iterable, Iterator
from functools import partial
from typing import Any

import aiokafka
import faust
import rocksdict
from aiokafka.consumer import fetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, StreamT
from mode import Service
from mode.services import WaitResults

FETCH_WAIT_MS = 100
NAP_S = 0.02


class _CommittedReader(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]
    """Faust sets read_committed only with its own transactions, and waits 1500 ms for a fetch.

    Records of aborted transactions are never events of ours, and a standing wait of 1.5 s is what a
    joining node would lose.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.update(isolation_level="read_committed", fetch_max_wait_ms=FETCH_WAIT_MS)
        super().__init__(*args, **kwargs)


class _LastBatch:
    """A fetch, batch by batch; remembers the one that was handed out last."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.last: Any = None

    def has_next(self) -> bool:
        has_next: bool = self._batches.has_next()
        return has_next

    def next_batch(self) -> Any:
        self.last = self._batches.next_batch()
        return self.last


class _ReadableRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """A header whose name is not UTF-8 would end aiokafka's fetch, and every fetch after it.

    Its batch is left out instead, from that record on: the fold agent finds the gap, and reads the
    log beside Faust (PartitionRecords._unpack_records, aiokafka 0.14.0).
    """

    _records: Any

    def _unpack_records(self) -> Iterator[Any]:
        batches = self._records = _LastBatch(self._records)
        while True:
            try:
                yield from super()._unpack_records()
                return
            except UnicodeDecodeError:
                self.next_fetch_offset = batches.last.next_offset


async def _wait_next_records(
    self: Any,
    timeout: float,  # noqa: ASYNC109 (Faust's own signature)
) -> tuple[dict[TP, list[Any]] | None, set[TP] | None]:
    """Fetch, or nap while every partition is paused.

    Faust's own naps for a whole second, which is how long each healthy node stood still at every
    rebalance (Consumer._wait_next_records, 0.15.3).
    """
    if not self.flow_active:
        await self.wait(self.can_resume_flow)
    try:
        self.not_waiting_next_records.set()
        active = self._get_active_partitions()
        if active:
            return await self._getmany(active_partitions=active, timeout=timeout), active
        await self.sleep(NAP_S)
        return {}, active
    finally:
        self.not_waiting_next_records.set()


async def _wait_first(
    self: Any,
    *waited: Any,
    **options: Any,
) -> WaitResults:
    """Run what comes first as far as it goes at once; wait for the first only where it has to wait.

    For every record the consumer waits for one of two: that its stream has taken it, or that the
    flow is suspended. Faust makes four tasks of that (Service.wait_first of mode, 0.15.3), which
    was half of all the time that a fold took. A stream with room takes a record without waiting.
    """
    taking, *others = waited
    if inspect.iscoroutine(taking):
        try:
            pending = taking.send(None)
        except StopIteration:
            for other in others:
                other.close()
            return WaitResults([], [], False)
        taking = _resumed(taking, pending)
    results: WaitResults = await Service.wait_first(self, taking, *others, **options)
    return results


async def _resumed(running: Coroutine[Any, Any, Any], pending: Any) -> Any:
    """Go on with a coroutine that was begun by hand and waits for `pending`."""
    return await _driven(running, pending)


@types.coroutine
def _driven(running: Coroutine[Any, Any, Any], pending: Any) -> Generator[Any, Any, Any]:
    while True:
        try:
            sent = yield pending
        except BaseException as exc:
            step = partial(running.throw, exc)
        else:
            step = partial(running.send, sent)
        try:
            pending = step()
        except StopIteration as done:
            return done.value


def install() -> None:
    """Put the changes above in place. Call it before the app starts."""
    fetcher.PartitionRecords = _ReadableRecords
    module: Any = driver
    module.aiokafka.AIOKafkaConsumer = _CommittedReader
    module.Consumer._wait_next_records = _wait_next_records
    module.Consumer.wait_first = _wait_first


def arrivals(stream: StreamT[Any]) -> asyncio.Queue[EventT[Any]]:
    """The queue behind a stream. Draining it whole is what makes a batch of what is there, without
    the timer of `take()` and the cost per record of `events()`."""
    channel: Any = stream.channel
    queue: asyncio.Queue[EventT[Any]] = channel.queue
    return queue


async def commit(app: faust.App, offsets: dict[TP, int]) -> None:
    """Commit offsets that we decide on. Faust's own bookkeeping of acks falls behind at every hole
    in the log, and keeps what lies behind it in memory: our topics have acks off."""
    consumer: Any = app.consumer
    await consumer._commit(offsets)


def member_id(app: faust.App) -> str:
    """Our id in the consumer group; empty after an expulsion. Faust has no name for it."""
    consumer: Any = app.consumer
    coordinator = consumer._thread._consumer._coordinator
    return str(coordinator.member_id)


async def crash_of(app: faust.App) -> Exception:
    """Wait until the app crashes, and say why. Faust has a flag for it and no way to wait."""
    service: Any = app
    await service._crashed.wait()
    reason = app.crash_reason
    return reason if isinstance(reason, Exception) else RuntimeError(f"Faust crashed: {reason!r}")


def open_partition(table: faust.Table[Any, Any], partition: int) -> rocksdict.Rdict:
    """The RocksDB of one partition of a table, opened if need be. Faust's own writers take one key
    at a time; we write batches."""
    data: Any = table.data
    db: rocksdict.Rdict = data._db_for_partition(partition)
    return db


def close_partitions(table: faust.Table[Any, Any], partitions: Iterable[int]) -> None:
    """Close the RocksDBs of these partitions, where they are open. Faust only drops its reference:
    as long as anything else holds one, the files stay locked, and the partition can't come back."""
    data: Any = table.data
    for partition in partitions:
        if (db := data._dbs.pop(partition, None)) is not None:
            db.close()


def offset_key(table: faust.Table[Any, Any]) -> bytes:
    """The key under which Faust keeps the changelog offset that a RocksDB has reached. Written in
    the same batch as the rows, it is never ahead of them."""
    data: Any = table.data
    key: bytes = data.offset_key
    return key

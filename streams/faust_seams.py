"""Every private name of Faust that Rewindow needs, each with its reason. Nothing else touches them.

Faust is pinned to 0.15.3; `tests/streams/test_faust_seams.py` fails when a new version changes one.
"""

import inspect
import math
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import aiokafka
import faust
import rocksdict
import structlog
from aiokafka import errors
from aiokafka.consumer import consumer, fetcher, group_coordinator
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest
from faust.stores import rocksdb
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.services import WaitResults

log = structlog.get_logger()

FETCH_WAIT_MS = 25
FETCH_BYTES_MIN = 32 << 10
NAP_S = 0.02
Arrive = Callable[[int, Sequence[Any]], Awaitable[None]]
"""Gets a partition and records of aiokafka's; may wait."""
STILL_A_MEMBER: Final = (errors.NoError.errno, errors.RebalanceInProgressError.errno)


class _CommittedReader(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]
    """Faust sets read_committed only with its own transactions, and waits 1500 ms for a fetch.

    Records of aborted transactions are never events of ours, and a standing wait of 1.5 s is what a
    joining node would lose. A fetch costs the node and the broker as much as an append: so it is
    not answered for each record, but for some, or after a while. Whoever asks over HTTP does not
    wait for it (`FoldAgent.written`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.update(
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_min_bytes=FETCH_BYTES_MIN,
        )
        super().__init__(*args, **kwargs)


class _Coordinator(group_coordinator.GroupCoordinator):  # type: ignore[misc]
    """Our place in the group (GroupCoordinator, aiokafka 0.14.0), with four changes:

    `acknowledged_at`: when the last request was sent by whose answer the group has shown that it
    knows us. aiokafka knows it too, in a local variable. Not when the answer came: it may have lain
    there while the process was stopped.

    The heart beats while partitions are taken. aiokafka begins only afterwards, so that tables
    which take longer than a session to restore would cost the place that they are restored for.

    `leaves`: whether a stop gives up the place. aiokafka never does it for members that have a name
    of their own, whose partitions nobody gets then before the session is over.

    `failure`: what its routines have died of. aiokafka raises it at the next fetch, and in the
    middle of a rebalance Faust may drop it there and fetch no more.
    """

    acknowledged_at = -math.inf
    leaves = False
    failure: Exception | None = None

    async def _coordination_routine(self) -> None:
        try:
            await super()._coordination_routine()
        except Exception as exc:
            self.failure = exc
            raise

    def _push_error_to_user(self, exc: Exception) -> Any:
        self.failure = exc
        return super()._push_error_to_user(exc)

    async def _send_req(self, request: Any) -> Any:
        sent_at = time.monotonic()
        answer = await super()._send_req(request)
        if (
            isinstance(request, HeartbeatRequest | SyncGroupRequest)
            and answer.error_code in STILL_A_MEMBER
        ):
            self.acknowledged_at = sent_at
        return answer

    async def _on_join_complete(self, *joined: Any) -> None:
        self._start_heartbeat_task()
        await super()._on_join_complete(*joined)

    async def _maybe_leave_group(self) -> None:
        if self.leaves and self.generation > 0:
            try:
                await self._send_req(LeaveGroupRequest(self.group_id, self.member_id))
            except errors.KafkaError as exc:
                log.warning("the group was not told that the node leaves", why=str(exc))
        await super()._maybe_leave_group()


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
            records = await self._getmany(active_partitions=active, timeout=timeout)
            return await _handed_over(self, records), active
        await self.sleep(NAP_S)
        return {}, active
    finally:
        self.not_waiting_next_records.set()


async def _start_tables(self: Any) -> None:
    """Faust waits a whole second for agents to make tables of their own (TableManager.on_start,
    0.15.3), at each start. Ours are made before."""
    if not self.should_stop:
        await self._update_channels()
        await self.recovery.start()


def _nothing_to_recover(_self: Any) -> bool:
    """Tables are restored before Faust looks (`streams.tables.restore`). Then it compares how far
    they are with where the changelogs end, and where the fold has gone on meanwhile, it would read
    our newest rows once more, and put older heads over newer ones (Recovery.need_recovery,
    0.15.3)."""
    return False


async def _handed_over(consumer: Any, records: dict[TP, list[Any]]) -> dict[TP, list[Any]]:
    """Give what was fetched to whoever takes it whole (`take_whole`); the rest goes Faust's way.

    For each record Faust makes a message and an event, asks its conductor, and puts it into a
    stream's queue: some 60 of the 80 µs that a record costs in Faust.
    """
    rest = {}
    for tp, found in records.items():
        arrive = consumer.app.taken_whole.get(tp.topic)
        if arrive is None:
            rest[tp] = found
        else:
            # A rebalance does not wait for room, as it does not for what Faust itself delivers.
            await consumer.wait_first(arrive(tp.partition, found), consumer.suspend_flow.wait())
    return rest


def _collect_no_garbage() -> int:
    """Faust has all garbage collected for each table at each rebalance and at the end, so that the
    RocksDBs which it only dropped are closed (stores.rocksdb, 0.15.3). The loop stood still for
    that; ours are closed by `close_partitions`."""
    return 0


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
    consumer.GroupCoordinator = _Coordinator
    TableManager.on_start = _start_tables  # type: ignore[method-assign]
    Recovery.need_recovery = _nothing_to_recover  # type: ignore[method-assign, assignment]
    stores: Any = rocksdb
    stores.gc = types.SimpleNamespace(collect=_collect_no_garbage)
    module: Any = driver
    module.aiokafka.AIOKafkaConsumer = _CommittedReader
    module.Consumer._wait_next_records = _wait_next_records
    module.Consumer.wait_first = _wait_first


def take_whole(app: faust.App, topic: str, arrive: Arrive) -> None:
    """Have what is fetched of a topic handed over as it comes, instead of record by record through
    a stream. An agent on the topic is what subscribes to it."""
    told: Any = app
    told.taken_whole = {topic: arrive}


async def commit(app: faust.App, offsets: dict[TP, int]) -> None:
    """Commit offsets that we decide on. Faust's own bookkeeping of acks falls behind at every hole
    in the log, and keeps what lies behind it in memory: our topics have acks off."""
    consumer: Any = app.consumer
    await consumer._commit(offsets)


def _coordinator(app: faust.App) -> Any:
    """Our side of the consumer group; None before there is one. Faust has no name for it."""
    consumer: Any = app.consumer
    client = consumer._thread._consumer
    return None if client is None else client._coordinator


def member_id(app: faust.App) -> str:
    """Our id in the consumer group; empty after an expulsion."""
    return str(_coordinator(app).member_id)


def acknowledged_at(app: faust.App) -> float:
    """When the last request was sent that the group has answered as to a member (monotonic seconds;
    minus infinity before there was one)."""
    coordinator = _coordinator(app)
    return -math.inf if coordinator is None else float(coordinator.acknowledged_at)


def group_failure(app: faust.App) -> Exception | None:
    """Why nobody looks after our place in the group any more; None while somebody does."""
    coordinator = _coordinator(app)
    return None if coordinator is None else coordinator.failure


def leave_at_stop(app: faust.App) -> None:
    """Let the stop of the app tell the group that this member goes for good."""
    if (coordinator := _coordinator(app)) is not None:
        coordinator.leaves = True


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

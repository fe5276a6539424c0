"""Every private name of Faust that Rewindow needs, each with its reason. Nothing else touches them.

Faust is pinned to 0.15.3; `tests/streams/test_faust_seams.py` fails when a new version changes one.
"""

import asyncio
from typing import Any

import aiokafka
import faust
import rocksdict
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, StreamT

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


def install() -> None:
    """Put the two changes above in place. Call it before the app starts."""
    module: Any = driver
    module.aiokafka.AIOKafkaConsumer = _CommittedReader
    module.Consumer._wait_next_records = _wait_next_records


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


def offset_key(table: faust.Table[Any, Any]) -> bytes:
    """The key under which Faust keeps the changelog offset that a RocksDB has reached. Written in
    the same batch as the rows, it is never ahead of them."""
    data: Any = table.data
    key: bytes = data.offset_key
    return key

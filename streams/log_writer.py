"""The one way into the log from this process: events as records, acknowledged by all replicas."""

import asyncio
import logging
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aiokafka.partitioner import murmur2
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Message, Producer
from msgspec.structs import replace

from schemas.codec import encode_event
from schemas.events import LogEvent
from schemas.limits import LOG_RECORD_BYTES_MAX
from streams.settings import KafkaConfig
from streams.store import Unavailable
from streams.tables.record import Record
from streams.tracing import TRACING_OFF, Tracing, traceparent_of

POLL_S: Final = 0.1
QUEUED_RECORDS_MAX: Final = 20_000
PARTITIONS_KNOWN_MAX: Final = 65_536
"""Of so many contexts the partition is remembered; asked for several times a request, and worked
out in Python, it was a tenth of a request's time."""
QUEUED_KBYTES_MAX: Final = 64 << 10


@lru_cache(maxsize=PARTITIONS_KNOWN_MAX)
def partition_of(context_id: str, partitions: int) -> int:
    """The partition of a context: murmur2, as the Java client's default partitioner takes it."""
    number: int = murmur2(context_id.encode())
    return (number & 0x7FFFFFFF) % partitions


NO_ROOM: Final = "too many writes wait for the broker; ask again"

OnWritten = Callable[[Sequence[Record]], None]


class _Writing(NamedTuple):
    """An event on its way; `by`: when it has to be on it, by the loop's clock."""

    partition: int
    event: LogEvent
    key: bytes
    value: bytes
    waiting: asyncio.Future[Any]
    by: float


class _Reported(NamedTuple):
    """What became of it: its place in the log, none where the broker does not say; or `failure`."""

    writing: _Writing
    place: tuple[int, int] | None
    failure: str | None


class LogWriter:
    """An idempotent producer with `acks=all`. Its callbacks come from a thread of its own.

    An event goes out at once where nothing of its partition is on its way, else with all others
    that came meanwhile when that has arrived: one request of many records costs the broker little
    more than one of a single record (Nagle's algorithm, RFC 896, on a partition).

    `on_written` is given, on the event loop, what all in-sync replicas have: the very records that
    every reader of the log gets, each partition's in order. Some may be left out.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        *,
        timeout_s: float,
        on_written: OnWritten,
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        self._on_written = on_written
        self._tracing = tracing
        self._loop = asyncio.get_running_loop()
        self._flying: Counter[int] = Counter()
        self._held: defaultdict[int, deque[_Writing]] = defaultdict(deque)
        self._queued = 0
        self._reports: deque[_Reported] = deque()
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                **kafka,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "compression.type": "lz4",
                "message.max.bytes": LOG_RECORD_BYTES_MAX,
                "delivery.timeout.ms": int(timeout_s * 1000),
                "queue.buffering.max.messages": QUEUED_RECORDS_MAX,
                "queue.buffering.max.kbytes": QUEUED_KBYTES_MAX,
                # Of all clients, this one is always polled, so that its lines never pile up.
                "log_level": 3,
                "logger": logging.getLogger("librdkafka"),
            }
        )
        self._thread = threading.Thread(target=self._poll, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, event: LogEvent, partition: int, waiting: asyncio.Future[Any]) -> None:
        """Append an event. That it arrived shows in the fold's answer; if it does not arrive,
        `waiting` gets `Unavailable`. Raises `Unavailable` when there is no room for it."""
        if not self._tracing.on:
            return self._write(event, partition, waiting)
        with self._tracing.published(self._topic, partition, event) as span:
            trail = replace(event.trail, traceparent=traceparent_of(span))
            return self._write(replace(event, trail=trail), partition, waiting)

    def _write(self, event: LogEvent, partition: int, waiting: asyncio.Future[Any]) -> None:
        if self._queued >= QUEUED_RECORDS_MAX:
            raise Unavailable(NO_ROOM)
        key, value = event.subject.encode(), encode_event(event)
        by = self._loop.time() + self._timeout_s
        writing = _Writing(partition, event, key, value, waiting, by)
        if self._flying[partition]:
            self._held[partition].append(writing)
        else:
            self._send(writing)
        self._queued += 1

    def _send(self, writing: _Writing) -> None:
        def told(error: Any, message: Message) -> None:
            failed = None if error is None else str(error.str())
            place = None if failed else _place_of(message)
            self._reports.append(_Reported(writing, place, failed))
            if len(self._reports) == 1:
                self._loop.call_soon_threadsafe(self._hear)

        try:
            self._producer.produce(
                self._topic,
                key=writing.key,
                value=writing.value,
                partition=writing.partition,
                on_delivery=told,
            )
        except BufferError:
            raise Unavailable(NO_ROOM) from None
        except KafkaException as exc:
            raise Unavailable(f"the event could not be written: {exc.args[0].str()}") from None
        self._flying[writing.partition] += 1

    def _hear(self) -> None:
        """What became of events that were on their way; others take their places."""
        written, partitions = [], set()
        while self._reports:
            writing, place, failure = self._reports.popleft()
            self._queued -= 1
            self._flying[writing.partition] -= 1
            partitions.add(writing.partition)
            if failure is not None:
                _fail(writing.waiting, failure)
            elif place is not None:
                written.append(
                    Record(writing.partition, *place, writing.key, writing.value, writing.event)
                )
        for partition in partitions:
            if not self._flying[partition]:
                self._send_held(self._held[partition])
        if written:
            self._on_written(written)

    def _send_held(self, held: deque[_Writing]) -> None:
        now = self._loop.time()
        while held:
            writing = held.popleft()
            try:
                if now > writing.by:
                    raise Unavailable("the broker does not answer; the event was not written")
                self._send(writing)
            except Unavailable as exc:
                self._queued -= 1
                if not writing.waiting.done():
                    writing.waiting.set_exception(exc)

    def close(self) -> None:
        """Wait for what is on its way, then end."""
        self._producer.flush(5)
        self._stopping.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(POLL_S)


def _place_of(message: Message) -> tuple[int, int] | None:
    """Offset and time of a record as the broker gave them; None where it did not say. It does not
    where it had the record already, from a try whose answer was lost."""
    offset, (kind, timestamp_ms) = message.offset(), message.timestamp()
    if offset is None or offset < 0 or kind != TIMESTAMP_LOG_APPEND_TIME:
        return None
    return offset, timestamp_ms


def _fail(waiting: asyncio.Future[Any], why: str) -> None:
    if not waiting.done():
        waiting.set_exception(
            Unavailable(f"the broker did not take the event ({why}); ask again with the same key")
        )

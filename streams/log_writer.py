"""The one way into the log from this process: events as records, acknowledged by all replicas."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

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
QUEUED_KBYTES_MAX: Final = 64 << 10


def partition_of(context_id: str, partitions: int) -> int:
    """The partition of a context: murmur2, as the Java client's default partitioner takes it."""
    number: int = murmur2(context_id.encode())
    return (number & 0x7FFFFFFF) % partitions


OnWritten = Callable[[Sequence[Record]], None]


class LogWriter:
    """An idempotent producer with `acks=all`. Its callbacks come from a thread of its own.

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
        self._on_written = on_written
        self._tracing = tracing
        self._written: deque[Record] = deque()
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
        loop = asyncio.get_running_loop()
        key, value = event.subject.encode(), encode_event(event)

        def told(error: Any, message: Message) -> None:
            if error is not None:
                loop.call_soon_threadsafe(_fail, waiting, str(error.str()))
            elif (place := _place_of(message)) is not None:
                self._written.append(Record(partition, *place, key, value))
                if len(self._written) == 1:
                    loop.call_soon_threadsafe(self._hand_over)

        try:
            self._producer.produce(
                self._topic, key=key, value=value, partition=partition, on_delivery=told
            )
        except BufferError:
            raise Unavailable("too many writes wait for the broker; ask again") from None
        except KafkaException as exc:
            raise Unavailable(f"the event could not be written: {exc.args[0].str()}") from None

    def _hand_over(self) -> None:
        written = []
        while self._written:
            written.append(self._written.popleft())
        self._on_written(written)

    def close(self) -> None:
        """Hand over what is queued, then end."""
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

"""The one way into the log from this process: events as records, acknowledged by all replicas."""

import asyncio
import logging
import threading
from typing import Any, Final

from aiokafka.partitioner import murmur2
from confluent_kafka import KafkaException, Producer
from msgspec.structs import replace

from schemas.codec import encode_event
from schemas.events import LogEvent
from schemas.limits import LOG_RECORD_BYTES_MAX
from streams.settings import KafkaConfig
from streams.store import Unavailable
from streams.tracing import TRACING_OFF, Tracing, traceparent_of

POLL_S: Final = 0.1
QUEUED_RECORDS_MAX: Final = 20_000
QUEUED_KBYTES_MAX: Final = 64 << 10


def partition_of(context_id: str, partitions: int) -> int:
    """The partition of a context: murmur2, as the Java client's default partitioner takes it."""
    number: int = murmur2(context_id.encode())
    return (number & 0x7FFFFFFF) % partitions


class LogWriter:
    """An idempotent producer with `acks=all`. Its callbacks come from a thread of its own."""

    def __init__(
        self, kafka: KafkaConfig, topic: str, *, timeout_s: float, tracing: Tracing = TRACING_OFF
    ) -> None:
        self._topic = topic
        self._tracing = tracing
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
                "delivery.report.only.error": True,
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

        def failed(error: Any, _message: Any) -> None:
            loop.call_soon_threadsafe(_fail, waiting, str(error.str()))

        try:
            self._producer.produce(
                self._topic,
                key=event.subject.encode(),
                value=encode_event(event),
                partition=partition,
                on_delivery=failed,
            )
        except BufferError:
            raise Unavailable("too many writes wait for the broker; ask again") from None
        except KafkaException as exc:
            raise Unavailable(f"the event could not be written: {exc.args[0].str()}") from None

    def close(self) -> None:
        """Hand over what is queued, then end."""
        self._producer.flush(5)
        self._stopping.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(POLL_S)


def _fail(waiting: asyncio.Future[Any], why: str) -> None:
    if not waiting.done():
        waiting.set_exception(
            Unavailable(f"the broker did not take the event ({why}); ask again with the same key")
        )

"""The herald: tells the log how far Postgres holds each context."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.codec import encode_event
from schemas.events import ArchiveAdvanced, LogEvent
from schemas.limits import LOG_RECORD_BYTES_MAX, WATERMARKS_PER_EVENT_MAX
from streams.settings import KafkaConfig

DELIVERY_S: Final = 8.0
SOURCE: Final = "/rewindow/archive"

Watermarks = Mapping[int, Mapping[str, int]]
"""Partition -> context id -> the seq up to which the context is archived without a hole."""


class Herald:
    """Belongs to one thread. `tail_keep` (messages) travels with every event."""

    def __init__(self, kafka: KafkaConfig, topic: str, *, tail_keep: int) -> None:
        self._kafka = kafka
        self._topic = topic
        self._tail_keep = tail_keep
        self._producer: Producer | None = None

    def announce(self, watermarks: Watermarks, reached: Mapping[int, int]) -> None:
        """One event a partition (a few, where it touches very many contexts), into the partition of
        the log with the same number, and confirmed by all replicas.

        `reached`: how far the facts are archived, for the events' ids. Raises `KafkaException` when
        there is no confirmation; the events may be in the log even so, and may be told again.
        """
        failures: list[KafkaError] = []

        def delivered(error: Any, _record: Any) -> None:
            if error is not None:
                failures.append(error)

        producer = self._producer = self._producer or self._made()
        for partition, pairs in watermarks.items():
            for event in self._events(partition, reached.get(partition, 0), pairs):
                producer.produce(
                    self._topic,
                    key=event.subject.encode(),
                    value=encode_event(event),
                    partition=partition,
                    on_delivery=delivered,
                )
        if producer.flush(2 * DELIVERY_S) or failures:
            # One that failed may be unusable for good; nothing of it may arrive behind the next.
            producer.purge()
            self._producer = None
            raise KafkaException(*(failures or [KafkaError(KafkaError._TIMED_OUT)]))

    def close(self) -> None:
        """Let go of the producer; it holds nothing that counts."""
        self._producer = None

    def _made(self) -> Producer:
        return Producer(
            {
                **self._kafka,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "compression.type": "lz4",
                "message.max.bytes": LOG_RECORD_BYTES_MAX,
                "delivery.timeout.ms": int(DELIVERY_S * 1000),
            }
        )

    def _events(
        self, partition: int, reached: int, archived: Mapping[str, int]
    ) -> Iterator[LogEvent]:
        # Zero says nothing, and the context may be one that the fold does not know.
        pairs = ((name, seq) for name, seq in archived.items() if seq > 0)
        while chunk := tuple(islice(pairs, WATERMARKS_PER_EVENT_MAX)):
            yield LogEvent(
                # No context id holds a slash, so that the subject is nobody's conversation.
                id=f"archive/{partition}/{reached}/{uuid4().hex}",
                subject=f"archive/{partition}",
                source=SOURCE,
                data=ArchiveAdvanced(chunk, self._tail_keep),
            )

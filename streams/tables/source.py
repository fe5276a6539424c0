"""The log, read beside Faust: where it starts and ends, and what lies in a gap.

Faust 0.15.3 was seen to skip records after a rebalance, and a transaction marker leaves a hole that
it can't tell from a skipped record. The log itself can.
"""

import threading
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.settings import KafkaConfig
from streams.tables.record import Record

RECORDS_PER_READ: Final = 500
READ_S: Final = 0.05
SILENCE_READS: Final = 200
"""Reads of `READ_S` without a word from the broker before it counts as gone (10 s)."""


class Bounds(NamedTuple):
    """The first offset that is kept, and the offset after the last one that is committed."""

    start: int
    end: int


class Visible(NamedTuple):
    """Every committed record from where the read began up to `reached`, which is not included."""

    records: list[Record]
    reached: int


class Source:
    """Blocks, and belongs in a thread; one call at a time, whoever calls."""

    def __init__(self, kafka: KafkaConfig, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._consumer = Consumer(
            {
                **kafka,
                "group.id": "rewindow-source",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )

    def bounds(self, partition: int, timeout_s: float = 10) -> Bounds:
        """Where the partition starts and ends now. Raises `KafkaException`."""
        with self._lock:
            start, end = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), timeout=timeout_s
            )
        return Bounds(start, end)

    def visible(self, partition: int, start: int, end: int) -> Visible:
        """The committed records in [start, end), at most `RECORDS_PER_READ` of them or a few more.

        Raises `KafkaException` when the broker is silent.
        """
        with self._lock:
            self._consumer.assign([TopicPartition(self._topic, partition, start)])
            try:
                return self._read(start, end)
            finally:
                self._consumer.unassign()

    def close(self) -> None:
        """End the connections."""
        with self._lock:
            self._consumer.close()

    def _read(self, start: int, end: int) -> Visible:
        records: list[Record] = []
        reached = start
        for _ in range(SILENCE_READS):
            for message in self._consumer.consume(RECORDS_PER_READ, READ_S):
                offset = message.offset()
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                assert offset is not None
                if error is not None or offset >= end:
                    return Visible(records, max(reached, min(offset, end)))
                partition = message.partition()
                assert partition is not None
                records.append(
                    Record(
                        partition, offset, message.timestamp()[1], message.key(), message.value()
                    )
                )
                reached = offset + 1
            if reached >= end or len(records) >= RECORDS_PER_READ:
                return Visible(records, reached)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{self._topic} is silent"))

"""The log, read beside Faust: where it starts and ends, and what lies in a gap.

Faust 0.15.3 was seen to skip records after a rebalance, and a transaction marker leaves a hole that
it can't tell from a skipped record. The log itself can.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.settings import KafkaConfig
from streams.tables.record import Record

RECORDS_PER_READ: Final = 500
RECORDS_PER_PIECE: Final = 2000
"""Of a whole partition, read from one end to the other."""
BYTES_PER_READ: Final = 32 << 20
READ_S: Final = 0.05
ANSWER_S: Final = 10.0
MOVING: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
)
"""What a broker says of a partition for a moment after its start, or while the leader changes."""
LOOK_AGAIN_S: Final = 0.1
SILENCE_READS: Final = 200
"""Reads of `READ_S` without a word from the broker before it counts as gone (10 s)."""
FAILURES_MAX: Final = 2
"""In a row, before a client is replaced."""


class Bounds(NamedTuple):
    """The first offset that is kept, and the offset after the last one that is committed."""

    start: int
    end: int


class Visible(NamedTuple):
    """Every committed record from where the read began up to `reached`, which is not included.

    `kept_from`: the first offset that retention has left.
    """

    records: list[Record]
    reached: int
    kept_from: int


class Piece(NamedTuple):
    """The committed records that come next, up to `reached`, which is not included."""

    records: list[Record]
    reached: int


def bounds_of(consumer: Consumer, topic: str, partition: int, timeout_s: float) -> Bounds:
    """Where a partition starts and ends now; blocks. Raises `KafkaException`."""
    at = TopicPartition(topic, partition)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return Bounds(*consumer.get_watermark_offsets(at, timeout=timeout_s))
        except KafkaException as exc:
            if exc.args[0].code() not in MOVING or time.monotonic() > deadline:
                raise
        time.sleep(LOOK_AGAIN_S)


class Source:
    """Blocks, and belongs in a thread; one call at a time, whoever calls."""

    def __init__(self, kafka: KafkaConfig, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._settings = {
            "group.id": "rewindow-source",
            **kafka,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
        }
        self._consumer = Consumer(self._settings)
        self._failures = 0

    def bounds(self, partition: int, timeout_s: float = ANSWER_S) -> Bounds:
        """Where the partition starts and ends now. Raises `KafkaException`."""
        with self._asking():
            return self._bounds(partition, timeout_s)

    def offset_at(self, partition: int, time_ms: int) -> int:
        """The first offset that arrived at a time of the broker's clock or later, the end where
        none did. Raises `KafkaException`."""
        with self._asking():
            asked = [TopicPartition(self._topic, partition, time_ms)]
            (found,) = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
            if found.error is not None:
                raise KafkaException(found.error)
            return found.offset if found.offset >= 0 else self._bounds(partition, ANSWER_S).end

    def pieces(self, partition: int, start: int, end: int) -> Iterator[Piece]:
        """Every committed record in [start, end), and the broker is asked for more meanwhile.

        Nobody else may use the source before the last piece. Raises `KafkaException` when the
        broker is silent.
        """
        with self._asking():
            self._consumer.assign([TopicPartition(self._topic, partition, start)])
            try:
                while start < end:
                    records, start = self._read(start, end, RECORDS_PER_PIECE)
                    yield Piece(records, start)
            finally:
                self._consumer.unassign()

    def visible(self, partition: int, start: int, end: int) -> Visible:
        """The committed records in [start, end), as many as one read holds (`RECORDS_PER_READ`,
        `BYTES_PER_READ`) or a few more.

        Raises `KafkaException` when the broker is silent.
        """
        with self._asking():
            self._consumer.assign([TopicPartition(self._topic, partition, start)])
            try:
                records, reached = self._read(start, end, RECORDS_PER_READ)
            finally:
                self._consumer.unassign()
            return Visible(records, reached, self._bounds(partition, ANSWER_S).start)

    def close(self) -> None:
        """End the connections."""
        with self._lock:
            self._consumer.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """A client that has failed several times in a row is replaced by a new one: librdkafka's
        was seen to hear nothing of a broker that had long been back (2.16, one of three killed)."""
        with self._lock:
            try:
                yield
            except KafkaException:
                self._failures += 1
                if self._failures >= FAILURES_MAX:
                    self._failures = 0
                    self._consumer.close()
                    self._consumer = Consumer(self._settings)
                raise
            self._failures = 0

    def _bounds(self, partition: int, timeout_s: float) -> Bounds:
        return bounds_of(self._consumer, self._topic, partition, timeout_s)

    def _read(self, start: int, end: int, records_max: int) -> tuple[list[Record], int]:
        records: list[Record] = []
        reached, size = start, 0
        for _ in range(SILENCE_READS):
            for message in self._consumer.consume(records_max, READ_S):
                offset = message.offset()
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                assert offset is not None
                if error is not None or offset >= end:
                    return records, max(reached, min(offset, end))
                records.append(_record(message))
                reached = offset + 1
                size += len(message)
            full = len(records) >= records_max or size >= BYTES_PER_READ
            if full or reached >= end:
                return records, reached
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{self._topic} is silent"))


def _record(message: Message) -> Record:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return Record(partition, offset, message.timestamp()[1], message.key(), message.value())

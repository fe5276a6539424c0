"""The facts, read partition by partition from offsets of our own, committed records only."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.limits import RECORD_BYTES_MAX
from streams.settings import KafkaConfig

QUEUED_KBYTES_MAX: Final = 16 << 10
ANSWER_S: Final = 5.0

_OUT_OF_RANGE: Final = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class FactsBounds(NamedTuple):
    """The first offset that the broker keeps, and the offset after its last record."""

    start: int
    end: int


class Arrived(NamedTuple):
    """A record, and the offset after it; `value` is None where there is nothing but an offset: at
    the end of a partition, behind the marks that transactions leave."""

    partition: int
    next: int
    value: bytes | None


class FactsLost(Exception):
    """The offset asked for is not in the partition: retention was faster than the archive."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"facts of partition {partition} are gone")
        self.partition = partition


class Facts:
    """Belongs to one thread. Every method raises `KafkaException` when the broker is silent."""

    def __init__(self, kafka: KafkaConfig, topic: str) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {
                # The client insists on a name; no group is joined, and nothing is committed to it.
                "group.id": "rewindow-archive",
                **kafka,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # Never jump by itself: what is lost has to be seen.
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "fetch.max.bytes": 2 * RECORD_BYTES_MAX,
                "queued.max.messages.kbytes": QUEUED_KBYTES_MAX,
                # A queue that was full once would not be filled again for a second otherwise.
                "fetch.queue.backoff.ms": 20,
            }
        )

    def bounds(self, partition: int) -> FactsBounds:
        """Where the partition starts and ends now."""
        start, end = self._consumer.get_watermark_offsets(
            TopicPartition(self._topic, partition), timeout=ANSWER_S
        )
        return FactsBounds(start, end)

    def follow(self, positions: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._consumer.assign(
            [TopicPartition(self._topic, partition, at) for partition, at in positions.items()]
        )

    def read(self, records_max: int, timeout_s: float) -> list[Arrived]:
        """What arrives within the time, in order. Raises `FactsLost` too.

        After an exception nothing of this read counts: follow again.
        """
        arrived: list[Arrived] = []
        for record in self._consumer.consume(records_max, timeout_s):
            partition, offset, error = record.partition(), record.offset(), record.error()
            if error is not None and error.code() in _OUT_OF_RANGE and partition is not None:
                raise FactsLost(partition)
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            assert partition is not None
            assert offset is not None
            if error is None:
                # A record without a value is no fact; what reads it says so.
                arrived.append(Arrived(partition, offset + 1, record.value() or b""))
            else:
                arrived.append(Arrived(partition, offset, None))
        return arrived

    def close(self) -> None:
        """End the connections."""
        self._consumer.close()

"""Kafka as the bench uses it: topics made, backlogs produced, topics read to their end."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bench.messages import PARTITIONS
from rewindow.errors import CannotStart
from schemas.topics import Topics, topic_shapes
from streams.settings import KafkaConfig
from streams.topics import prepare_topics

READ_RECORDS: Final = 5000
READ_S: Final = 0.05
PATIENCE_S: Final = 180.0


def config(address: str) -> KafkaConfig:
    """What every client begins with."""
    return {"bootstrap.servers": address, "log_level": 3}


def make_deployment(address: str, prefix: str) -> None:
    """The topics of a node, before there is one, or of an app of that name with its tables."""
    shapes = topic_shapes(Topics(prefix), PARTITIONS)
    prepare_topics(config(address), shapes, replication=1, timeout_s=30)


def produce(address: str, topic: str, records: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Every record, acknowledged by all replicas. librdkafka's defaults, in large batches."""
    producer = Producer({**config(address), "acks": "all", "linger.ms": 20})
    lost: list[KafkaError] = []

    def heard(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            lost.append(error)

    for partition, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, partition=partition, on_delivery=heard)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(PATIENCE_S) or lost:
        raise CannotStart(f"the backlog could not be produced: {lost[:1]}")


def ends(address: str, topic: str) -> dict[int, int]:
    """The offset behind the last record of each partition."""
    reader = Consumer({**config(address), "group.id": "bench-ends"})
    try:
        found = {}
        for partition in range(PARTITIONS):
            bounds = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            found[partition] = bounds[1]
        return found
    finally:
        reader.close()


def read(
    address: str, topic: str, starts: dict[int, int], *, follow: bool = False
) -> Iterator[list[Message]]:
    """Committed records, as they come: up to the ends, or on and on for whoever `follow`s.

    Raises `CannotStart` where that takes too long.
    """
    reader = Consumer(
        {
            **config(address),
            "group.id": "bench-read",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            # As `streams.tables.restore` reads.
            "fetch.wait.max.ms": 50,
            "fetch.message.max.bytes": 8 << 20,
        }
    )
    reader.assign([TopicPartition(topic, p, offset) for p, offset in starts.items()])
    open_ = set(starts)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while open_ or follow:
            found: list[Message] = []
            for message in reader.consume(READ_RECORDS, READ_S):
                if (error := message.error()) is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_.discard(message.partition())
                else:
                    raise KafkaException(error)
            yield found
            if time.monotonic() > deadline:
                raise CannotStart(f"what was waited for did not appear in {topic}")
    finally:
        reader.close()

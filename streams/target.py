"""The log that a replay fills: nothing but a replay has written to it, and no node takes it before
it is whole.

While it is filled it takes the times that it is given (`CreateTime`), so that an event keeps the
time of its first arrival. A node refuses such a log. When all is there it becomes as a node wants
it; what was written keeps its time, and what comes later gets the broker's.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from msgspec.structs import replace

from schemas.topics import HEADER_ORIGIN, TopicShape
from streams.retold import Retold
from streams.settings import KafkaConfig
from streams.tables.record import Record
from streams.tables.source import ANSWER_S, bounds_of
from streams.topics import prepare_topics

TIMES: Final = "message.timestamp.type"
FILLING: Final = {TIMES: "CreateTime", "retention.ms": "-1"}
"""Kept for ever as well: what is old enough to go must not go before the rest is there."""
RECORD_BYTES: Final = 100 << 20
"""librdkafka measures a record unpacked; the broker, packed, and says so itself."""
TRANSACTION_S: Final = 60.0
SILENCE_S: Final = 10.0
HEARD_S: Final = 30.0
"""How long the leader of a partition may take to hear of a topic's new settings."""
READ_RECORDS: Final = 2000
READ_S: Final = 0.05


class NotOurs(Exception):
    """Somebody else has written to the log; says to which."""


class Origin(NamedTuple):
    """Where a record of the target comes from; `source` names what is replayed, and from when."""

    source: str
    partition: int
    offset: int


class Target:
    """`shape`: as a node wants it. Every method blocks, and raises `KafkaException`."""

    def __init__(self, kafka: KafkaConfig, shape: TopicShape, replication: int) -> None:
        self._kafka = kafka
        self._shape = shape
        self._replication = replication
        self._producer: Producer | None = None

    def positions(self, source: str) -> dict[int, int]:
        """For each partition of the source, the offset behind the last record that was replayed.
        Raises `NotOurs`."""
        found: dict[int, int] = {}
        for message in self._records():
            origin = _origin_of(message)
            if origin is None or origin.source != source:
                raise NotOurs(f"record {message.offset()} of partition {message.partition()}")
            found[origin.partition] = max(found.get(origin.partition, 0), origin.offset + 1)
        return found

    def open(self, transactional_id: str, patience_s: float) -> None:
        """Make it where it is missing, let it take times, and fence whoever else fills it. Raises
        `TopicsUnfit`."""
        existed = self._configure(FILLING)
        if not existed:
            filling = replace(self._shape, config=self._shape.config | FILLING)
            prepare_topics(
                self._kafka, [filling], replication=self._replication, timeout_s=patience_s
            )
        self._producer = Producer(
            {
                **self._kafka,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(TRANSACTION_S * 1000),
                "compression.type": "zstd",
                "message.max.bytes": RECORD_BYTES,
            }
        )
        self._producer.list_topics(timeout=ANSWER_S)
        self._producer.init_transactions(TRANSACTION_S)
        if existed:
            self._wait_until_times_are_taken()

    def write(self, told: Sequence[tuple[Retold, Record]], source: str) -> None:
        """Append all of it, or nothing. Each gets the time of the record that it comes from."""
        producer = self._open()
        producer.begin_transaction()
        for one, record in told:
            origin = f"{source}/{record.partition}/{record.offset}".encode()
            self._produce(one, record.timestamp_ms, origin)
        while True:
            try:
                return producer.commit_transaction(TRANSACTION_S)
            except KafkaException as exc:
                if not exc.args[0].retriable():
                    raise

    def _produce(self, one: Retold, timestamp_ms: int, origin: bytes) -> None:
        producer = self._open()
        while True:
            try:
                return producer.produce(
                    self._shape.name,
                    one.value,
                    one.key,
                    one.partition,
                    timestamp=timestamp_ms,
                    headers={HEADER_ORIGIN: origin},
                )
            except BufferError:
                producer.poll(READ_S)

    def seal(self) -> None:
        """It is whole: a node may have it."""
        self._configure({name: self._shape.config[name] for name in FILLING})

    def _open(self) -> Producer:
        assert self._producer is not None, "open() comes first"
        return self._producer

    def _wait_until_times_are_taken(self) -> None:
        """A broker hears of a topic's new settings a little later than the controller. So each
        leader is asked with a record, which is taken back."""
        producer = self._open()
        deadline = time.monotonic() + HEARD_S
        heard = False
        while not heard:
            kinds: list[int] = []

            def delivered(_error: Any, message: Message, kinds: list[int] = kinds) -> None:
                kinds.append(message.timestamp()[0])

            producer.begin_transaction()
            for partition in range(self._shape.partitions):
                producer.produce(
                    self._shape.name, None, partition=partition, timestamp=0, on_delivery=delivered
                )
            producer.flush(TRANSACTION_S)
            producer.abort_transaction(TRANSACTION_S)
            heard = kinds == [TIMESTAMP_CREATE_TIME] * self._shape.partitions
            if time.monotonic() > deadline:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, f"{self._shape.name} does not take times")
                )

    def _configure(self, config: Mapping[str, str]) -> bool:
        """Where it exists; says whether it does."""
        admin = AdminClient(dict(self._kafka))
        if self._shape.name not in admin.list_topics(timeout=ANSWER_S).topics:
            return False
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, self._shape.name, incremental_configs=entries)
        for altered in admin.incremental_alter_configs([resource]).values():
            altered.result()
        return True

    def _records(self) -> Iterator[Message]:
        """Every committed record of every partition."""
        reader = Consumer(
            {
                **self._kafka,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        try:
            bounds = {
                p: bounds_of(reader, self._shape.name, p, ANSWER_S)
                for p in range(self._shape.partitions)
            }
            left = {p for p, b in bounds.items() if b.start < b.end}
            reader.assign([TopicPartition(self._shape.name, p, bounds[p].start) for p in left])
            deadline = time.monotonic() + SILENCE_S
            while left:
                found = reader.consume(READ_RECORDS, READ_S)
                for message in found:
                    error: Any = message.error()
                    if error is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        left.discard(message.partition())
                    else:
                        raise KafkaException(error)
                if found:
                    deadline = time.monotonic() + SILENCE_S
                elif time.monotonic() > deadline:
                    raise KafkaException(
                        KafkaError(KafkaError._TIMED_OUT, f"{self._shape.name} is silent")
                    )
        finally:
            reader.close()


def _origin_of(message: Message) -> Origin | None:
    try:
        written = dict(message.headers() or ())[HEADER_ORIGIN] or b""
        text = written.decode() if isinstance(written, bytes) else written
        source, partition, offset = text.rsplit("/", 2)
        return Origin(source, int(partition), int(offset))
    except (KeyError, ValueError):
        # Not even a name of a header has to be text.
        return None

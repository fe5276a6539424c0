"""A deployment of its own on the shared broker: its topics, what lies in them, and what should."""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from schemas.codec import Unreadable, decode_event, decode_fact, encode_event
from schemas.events import LogEvent
from schemas.facts import Fact
from schemas.topics import PARTITIONER, TAILS, WINDOWS, topic_shapes
from streams import encodings
from streams.core.fold import At
from streams.core.tally import TALLY_KEY, encode_tally, tally_of
from streams.settings import StreamSettings
from streams.tables.digest import Digest, digest_of
from streams.topics import prepare_topics, topic_id
from tests.support.fold import World
from tests.support.wait import until, until_it_holds

PATIENCE_S = 20
MARKERS_S = 10.0
Published = tuple[str, str, Fact]
"""A fact with its id and its subject."""


class Expected(NamedTuple):
    """What a partition comes to, by the pure fold over dictionaries. `dead`: offsets."""

    digest: Digest
    facts: list[Published]
    dead: list[int]


class Deployment:
    """One prefix. Everything that it reads, it reads to the end, committed records only."""

    def __init__(
        self, kafka: str, prefix: str, data: Path, *, partitions: int = 2, **changes: Any
    ) -> None:
        self.settings = StreamSettings(
            kafka=kafka, prefix=prefix, data=data, partitions=partitions, **changes
        )
        self.topics = self.settings.topics
        self.kafka = self.settings.librdkafka()
        self._producer = Producer(
            {**self.kafka, "partitioner": PARTITIONER, "message.max.bytes": 100 << 20}
        )

    def prepare(self) -> "Deployment":
        """Make the topics, as a node does."""
        shapes = topic_shapes(self.topics, self.settings.partitions)
        prepare_topics(self.kafka, shapes, replication=1, timeout_s=PATIENCE_S)
        return self

    def environment(self) -> dict[str, str]:
        """The settings as a node in another process reads them."""
        told = ("kafka", "prefix", "data", "partitions")
        return {f"REWINDOW_{name.upper()}": str(getattr(self.settings, name)) for name in told}

    # -- writing --------------------------------------------------------------------------------

    def write(self, *events: LogEvent) -> None:
        """Append to the log as any Kafka client does."""
        for event in events:
            self._producer.produce(self.topics.log, encode_event(event), event.subject.encode())
        self._flush()

    def write_event(self, event: LogEvent, partition: int) -> None:
        """Append to a partition that is not the one of the event's subject, as the archive does."""
        self.write_bytes((event.subject.encode(), encode_event(event)), partition=partition)

    def write_bytes(
        self, *records: tuple[bytes | None, bytes | None], partition: int = 0, **more: Any
    ) -> None:
        """Append keys and values that may be anything."""
        for key, value in records:
            self._producer.produce(self.topics.log, value, key, partition, **more)
            self._producer.poll(0)
        self._flush()

    def _flush(self) -> None:
        assert self._producer.flush(PATIENCE_S) == 0

    def transactional(self, name: str = "stranger", **more: Any) -> Producer:
        """A producer with transactions, under a name that no node has."""
        producer = Producer(
            {**self.kafka, "transactional.id": f"{self.settings.prefix}-{name}", **more}
        )
        producer.list_topics(timeout=PATIENCE_S)
        producer.init_transactions(PATIENCE_S)
        return producer

    def packing(self) -> Producer:
        """A producer whose records are far smaller on the wire than in memory."""
        return Producer({**self.kafka, "compression.type": "gzip", "message.max.bytes": 100 << 20})

    def transact(self, producer: Producer, *events: LogEvent, commit: bool = True) -> None:
        """One transaction over events to partition 0; it leaves a marker behind."""
        offsets: list[int] = []
        producer.begin_transaction()
        for event in events:
            producer.produce(
                self.topics.log,
                encode_event(event),
                event.subject.encode(),
                0,
                on_delivery=lambda _error, record: offsets.append(record.offset()),
            )
        assert producer.flush(PATIENCE_S) == 0
        end = producer.commit_transaction if commit else producer.abort_transaction
        end(PATIENCE_S)
        # The broker says so before the marker is there.
        until(lambda: self._high_watermark() > max(offsets) + 1, "the marker is written")

    def tamper(self, table: str, key: bytes, value: bytes | None, partition: int = 0) -> None:
        """Write to a changelog, as nobody but the journal should; None takes a row away.

        Whoever has just written a transaction takes the offset behind it for its marker's, which
        may not be there yet: wait until it is, by `is_exact`.
        """
        self._producer.produce(self.topics.changelog(table), value, key, partition)
        self._flush()

    def delete_before(self, topic: str, offset: int, partition: int = 0) -> None:
        """What retention does to the start of a topic that is not compacted."""
        cut = TopicPartition(topic, partition, offset)
        # Held in a variable: a client that nobody holds is gone before it has an answer.
        admin = AdminClient(self.kafka)
        admin.delete_records([cut])[cut].result()

    def make_anew(self, topic: str) -> None:
        """Delete a topic with all that is in it, and make it again."""
        admin = AdminClient(self.kafka)
        admin.delete_topics([topic], operation_timeout=PATIENCE_S)[topic].result()
        until(lambda: topic not in admin.list_topics(timeout=PATIENCE_S).topics, "it is gone")
        self.prepare()

    def make_log_anew(self, *events: LogEvent) -> None:
        """Delete the log, and make it again with other events in it."""
        self.make_anew(self.topics.log)
        # One that knew the old topic would wait until it has heard of the new one.
        Deployment(
            self.settings.kafka,
            self.settings.prefix,
            self.settings.data,
            partitions=self.settings.partitions,
        ).write(*events)

    # -- reading --------------------------------------------------------------------------------

    def read(self, topic: str, partition: int = 0) -> list[Message]:
        """Every committed record of a partition."""
        consumer = Consumer(
            {
                **self.kafka,
                "group.id": "reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            start, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition))
            consumer.assign([TopicPartition(topic, partition, start)])
            found = []
            while True:
                record = consumer.poll(PATIENCE_S)
                assert record is not None, f"{topic} is silent"
                if (error := record.error()) is None:
                    found.append(record)
                    continue
                assert error.code() == KafkaError._PARTITION_EOF, error
                return found
        finally:
            consumer.close()

    def log_id(self) -> bytes:
        """What the tables have to be of."""
        return topic_id(self.kafka, self.topics.log).encode()

    def end(self, partition: int = 0) -> int:
        """The offset behind everything in a partition of the log, markers too."""
        consumer = Consumer({**self.kafka, "group.id": "reader"})
        try:
            at = TopicPartition(self.topics.log, partition)
            return int(consumer.get_watermark_offsets(at)[1])
        finally:
            consumer.close()

    def _high_watermark(self) -> int:
        """The offset behind everything in partition 0 of the log, decided or not."""
        consumer = Consumer(
            {**self.kafka, "group.id": "reader", "isolation.level": "read_uncommitted"}
        )
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(self.topics.log, 0))[1])
        finally:
            consumer.close()

    def facts(self, partition: int = 0) -> list[Published]:
        """Every fact, in order."""
        return [_published(record.value()) for record in self.read(self.topics.facts, partition)]

    def dead(self, partition: int = 0) -> list[Message]:
        """Every record that was buried, in order."""
        return self.read(self.topics.dead, partition)

    def changelog(self, table: str, partition: int = 0) -> dict[bytes, bytes]:
        """The rows that a changelog stands for."""
        rows: dict[bytes, bytes] = {}
        for record in self.read(self.topics.changelog(table), partition):
            if record.value() is None:
                rows.pop(record.key(), None)
            else:
                rows[record.key()] = record.value()
        return rows

    def changelog_digest(self, partition: int = 0) -> Digest:
        """What a node with an empty disk would find."""
        windows, tails = (self.changelog(table, partition) for table in (WINDOWS, TAILS))
        return digest_of(partition, sorted(windows.items()), sorted(tails.items()))

    # -- what should be -------------------------------------------------------------------------

    def expected(self, partition: int = 0, end: int | None = None) -> Expected:
        """The log of a partition, folded with the pure core and nothing else; up to an offset."""
        if end is None:
            end = self.end(partition)
        world = World(encodings.measure)
        facts: list[Published] = []
        dead: list[int] = []
        for record in self.read(self.topics.log, partition):
            offset = record.offset()
            if offset >= end:
                break
            try:
                event = decode_event(record.key(), record.value())
            except Unreadable:
                dead.append(offset)
                continue
            count = len(world.facts)
            world.fold_at(event, At(offset, record.timestamp()[1]))
            facts += [
                (f"{partition}.{offset}.{number}", subject, fact)
                for number, (subject, fact) in enumerate(world.facts[count:])
            ]
        windows, tails = world.encoded()
        if end > 0:
            windows[TALLY_KEY] = encode_tally(tally_of(world.heads.values()))
        digest = digest_of(partition, sorted(windows.items()), sorted(tails.items()))
        return Expected(replace(digest, position=end - 1), facts, dead)

    def is_consistent(self, partition: int) -> None:
        """Assert that what is committed is what the log says up to one offset, be that the end."""

        def check() -> None:
            found = self.changelog_digest(partition)
            expected = self.expected(partition, found.position + 1)
            assert found == expected.digest, f"{found} is not {expected.digest}"
            assert self.facts(partition) == expected.facts

        # A broker that is busy confirms before the markers are there.
        until_it_holds(check, deadline_s=MARKERS_S)

    def is_exact(self, digests: Iterable[Digest]) -> None:
        """Assert that tables, changelogs, facts and dead letters are what the log says."""
        for digest in digests:
            until_it_holds(partial(self._check_exact, digest), deadline_s=MARKERS_S)

    def _check_exact(self, digest: Digest) -> None:
        expected = self.expected(digest.partition)
        assert digest == expected.digest, f"{digest} is not {expected.digest}"
        assert self.changelog_digest(digest.partition) == expected.digest
        assert self.facts(digest.partition) == expected.facts
        dead = self.dead(digest.partition)
        assert [int(_header(record, "offset")) for record in dead] == expected.dead


def _published(value: bytes) -> Published:
    subject, fact = decode_fact(value)
    return str(json.loads(value)["id"]), subject, fact


def _header(record: Message, name: str) -> bytes:
    return dict(record.headers() or ())[name]

"""Tables from their changelogs, in bulk.

Faust's own recovery never ends behind a transaction marker, and takes one event at a time: 4,000
rows/s were measured against 41,000 this way. So nothing is left for it to do.
"""

import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from rocksdict import Rdict, WriteBatch

from schemas.limits import CONTEXT_ID_BYTES_MAX
from streams.settings import KafkaConfig
from streams.tables.source import bounds_of

ROWS_PER_READ: Final = 5000
READ_S: Final = 0.05
"""`consume` waits this long for a whole batch, also at the end, so it has to be short."""
MARKER_S: Final = 30
FIRST_KEY: Final = b""
LAST_KEY: Final = b"\xff" * (2 * CONTEXT_ID_BYTES_MAX)
"""Above every key: no UTF-8 begins with this byte."""


class TablesUnfit(Exception):
    """The tables and the topics don't belong together; the sentence says what to do."""


def of_another_log(topic: str, partition: int) -> TablesUnfit:
    """Why tables are refused whose log is not the one that is there."""
    return TablesUnfit(
        f"the tables of partition {partition} come from another {topic}: it was deleted and made "
        "anew since; run `rewindow rebuild`"
    )


def restore(
    kafka: KafkaConfig,
    topic: str,
    dbs: Mapping[int, Rdict],
    offset_key: bytes,
    *,
    up_to: int | None = None,
) -> int:
    """Bring each partition's RocksDB to the end of its changelog, or to an offset before it;
    blocks. Returns rows read.

    Reads committed records only. Afterwards the persisted offset is the end - 1, be that a record
    or a transaction marker. Raises `TablesUnfit`, `KafkaException`.
    """
    consumer = Consumer(
        {
            "group.id": "rewindow-restore",
            **kafka,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "fetch.message.max.bytes": 8 << 20,
        }
    )
    try:
        ends: dict[int, int] = {}
        starts: list[TopicPartition] = []
        for partition, db in dbs.items():
            start, end = _span(consumer, topic, partition, db, offset_key)
            end = end if up_to is None else min(end, up_to)
            if start < end:
                ends[partition] = end
                starts.append(TopicPartition(topic, partition, start))
        consumer.assign(starts)
        rows = 0
        while ends:
            found = consumer.consume(ROWS_PER_READ, READ_S)
            rows += _copy(found, dbs, ends, offset_key, bounded=up_to is not None)
        return rows
    finally:
        consumer.close()


def outgrown(
    kafka: KafkaConfig, topic: str, dbs: Mapping[int, Rdict], offset_key: bytes
) -> set[int]:
    """The partitions whose changelog has got records, committed or not, behind what was restored;
    blocks. Raises `KafkaException`.

    Whoever has fenced the others and restores is the only one who may write.
    """
    consumer = Consumer(
        {"group.id": "rewindow-restore", **kafka, "isolation.level": "read_uncommitted"}
    )
    try:
        grown = set()
        for partition, db in dbs.items():
            start, end = bounds_of(consumer, topic, partition, MARKER_S)
            if end > max(start, _stored(db, offset_key) + 1):
                grown.add(partition)
        return grown
    finally:
        consumer.close()


def _stored(db: Rdict, offset_key: bytes) -> int:
    stored = db.get(offset_key)
    return -1 if stored is None else int(stored)


def _span(
    consumer: Consumer, topic: str, partition: int, db: Rdict, offset_key: bytes
) -> tuple[int, int]:
    """From where to where to read."""
    have = _stored(db, offset_key)
    deadline = time.monotonic() + MARKER_S
    while True:
        low, high = bounds_of(consumer, topic, partition, MARKER_S)
        # The marker of our own last commit may not be in the log yet.
        if have < high:
            if have + 1 < low:
                # The changelog was cut off in between, by a rebuild: nothing local may survive it.
                db.delete_range(FIRST_KEY, LAST_KEY)
            return max(low, have + 1), high
        if time.monotonic() > deadline:
            raise TablesUnfit(
                f"the local table is at offset {have} of {topic}/{partition}, which ends at "
                f"{high}: the topic was made anew; delete the node's data folder and start again"
            )
        time.sleep(0.05)


def _copy(
    messages: list[Message],
    dbs: Mapping[int, Rdict],
    ends: dict[int, int],
    offset_key: bytes,
    *,
    bounded: bool,
) -> int:
    """Write one read to RocksDB, and strike off the partitions that are at their end. `bounded`:
    what has come behind it since is left out."""
    batches: dict[int, WriteBatch] = {}
    reached: dict[int, int] = {}
    rows = 0
    for message in messages:
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        if (error := message.error()) is not None:
            # position() does not move over markers; the end of a partition is an event.
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if offset >= ends.get(partition, offset + 1):
                reached[partition] = offset - 1
                del ends[partition]
            continue
        if bounded and offset >= ends.get(partition, offset):
            if ends.pop(partition, None) is not None:
                reached[partition] = offset - 1
            continue
        batch = batches.setdefault(partition, WriteBatch(raw_mode=True))
        key, value = message.key(), message.value()
        assert key is not None
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
        reached[partition] = offset
        rows += 1
    for partition, offset in reached.items():
        batch = batches.get(partition) or WriteBatch(raw_mode=True)
        batch.put(offset_key, b"%d" % offset)
        dbs[partition].write(batch)
    return rows

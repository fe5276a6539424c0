"""Tables and changelogs thrown away, and made again out of the log."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import TAILS, WINDOWS
from streams import encodings
from streams.core.rows import POSITION_KEY
from streams.replay import Replay
from streams.settings import StreamSettings
from streams.tables.source import Source
from streams.tables.transaction import TransactionWriter

ROWS_PER_TRANSACTION: Final = 20_000
LEAVING_S: Final = 20.0


class NodesRun(Exception):
    """A node is a member of the group; it has to be stopped first."""


class Rebuilt(NamedTuple):
    """One partition: events folded and rows written."""

    partition: int
    events: int
    rows: int


def rebuild(settings: StreamSettings, scratch: Path) -> Iterator[Rebuilt]:
    """For each partition:

    1. fence every node off, and cut both changelogs at their ends;
    2. fold the log from its start into a scratch space;
    3. write every row, and the position last: rows without a position are an unfinished rebuild,
       which no node starts with.

    No facts are published again. Blocks. Raises `NodesRun`, `KafkaException`.
    """
    admin = AdminClient(dict(settings.librdkafka()))
    _wait_for_an_empty_group(admin, settings.prefix)
    source = Source(settings.librdkafka(), settings.topics.log)
    try:
        for partition in range(settings.partitions):
            writer = TransactionWriter(
                settings.librdkafka(),
                f"{settings.prefix}-{partition}",
                partition,
                patience_s=settings.outage_patience_s,
            )
            writer.open()
            _cut(admin, settings, partition, writer)
            replay = Replay(source, partition, scratch, encodings.measure)
            events = replay.fold_up_to(source.bounds(partition).end)
            yield Rebuilt(partition, events, _write(settings, replay, writer))
    finally:
        source.close()


def _wait_for_an_empty_group(admin: AdminClient, group: str) -> None:
    deadline = time.monotonic() + LEAVING_S
    while admin.describe_consumer_groups([group])[group].result().members:
        if time.monotonic() > deadline:
            raise NodesRun(
                "a node of this deployment is running; stop every node, then rebuild again"
            )
        time.sleep(0.5)


def _cut(
    admin: AdminClient, settings: StreamSettings, partition: int, writer: TransactionWriter
) -> None:
    """Cut both changelogs behind a record of our own, so that the cut lies beyond what any node has
    on its disk: that is how a node knows that its disk is void."""
    topics = [settings.topics.changelog(table) for table in (WINDOWS, TAILS)]
    last = writer.commit({topic: {POSITION_KEY: None} for topic in topics}, [])
    cuts = [TopicPartition(topic, partition, last[topic] + 1) for topic in topics]
    for cut in admin.delete_records(cuts).values():
        cut.result()


def _write(settings: StreamSettings, replay: Replay, writer: TransactionWriter) -> int:
    topics = settings.topics
    lane = replay.lane
    position = lane.windows.get(POSITION_KEY)
    if position is None:
        return 0
    written = 0
    for table, rows in ((TAILS, lane.tails.rows_stored()), (WINDOWS, lane.windows.rows_stored())):
        kept = ((key, value) for key, value in rows if key != POSITION_KEY)
        while chunk := dict(islice(kept, ROWS_PER_TRANSACTION)):
            writer.commit({topics.changelog(table): dict(chunk)}, [])
            written += len(chunk)
    writer.commit({topics.changelog(WINDOWS): {POSITION_KEY: position}}, [])
    return written

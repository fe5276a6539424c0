"""Tables and changelogs thrown away, and made again out of the log."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.topics import TAILS, WINDOWS, topic_shapes
from streams import encodings
from streams.core.rows import POSITION_KEY
from streams.replay import Replay
from streams.settings import StreamSettings
from streams.tables.cut import compact_only, cut
from streams.tables.source import Source
from streams.tables.transaction import TransactionWriter
from streams.topics import log_partitions, prepare_topics

ROWS_PER_TRANSACTION: Final = 20_000
LEAVING_S: Final = 2.0
"""How much longer than its session a node that ended may be counted as a member."""
LOOK_AGAIN_S: Final = 0.2
STARTING: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
"""What a broker says of a group for a moment after its start."""


class CannotRebuild(Exception):
    """A node runs, or the log does not hold everything; nothing was touched."""


class Rebuilt(NamedTuple):
    """One partition: events folded and rows written."""

    partition: int
    events: int
    rows: int


def rebuild(settings: StreamSettings, scratch: Path) -> Iterator[Rebuilt]:
    """Make what is missing of the topics, and then, for each partition:

    1. fence every node off;
    2. fold the log from its start into a scratch space;
    3. cut both changelogs at their ends;
    4. write every row, and the position last: rows without a position are an unfinished rebuild,
       which no node starts with.

    No facts are published again. Blocks. Raises `CannotRebuild`, `TopicsUnfit`, `KafkaException`.
    """
    partitions = log_partitions(settings)
    admin = AdminClient(dict(settings.librdkafka()))
    changelogs = [settings.topics.changelog(table) for table in (WINDOWS, TAILS)]
    source = Source(settings.librdkafka(), settings.topics.log)
    try:
        for partition in range(partitions):
            _check_that_all_is_there(source, partition)
        _wait_for_an_empty_group(admin, settings)
        _prepare(admin, settings, partitions, changelogs)
        for partition in range(partitions):
            writer = _writer(settings, partition)
            writer.open()  # 1
            replay = Replay(source, partition, scratch, encodings.measure)
            events = replay.fold_up_to(source.bounds(partition).end)  # 2
            cut(admin, changelogs, partition, writer)  # 3
            yield Rebuilt(partition, events, _write(settings, replay, writer))  # 4
    finally:
        source.close()


def _check_that_all_is_there(source: Source, partition: int) -> None:
    start = source.bounds(partition).start
    if start > 0:
        raise CannotRebuild(
            f"partition {partition} of the log begins at event {start}: what came of the events "
            "before it is in the tables alone, and a rebuild would lose it"
        )


def _wait_for_an_empty_group(admin: AdminClient, settings: StreamSettings) -> None:
    """A node that ended is a member until its session is over: it keeps its place that long."""
    group = settings.prefix
    deadline = time.monotonic() + settings.session_timeout_s + LEAVING_S
    while _may_have_members(admin, group):
        if time.monotonic() > deadline:
            raise CannotRebuild(
                "a node of this deployment is running; stop every node, then rebuild again"
            )
        time.sleep(LOOK_AGAIN_S)


def _may_have_members(admin: AdminClient, group: str) -> bool:
    """Whether somebody is in the group, as far as the broker can tell yet."""
    try:
        return bool(admin.describe_consumer_groups([group])[group].result().members)
    except KafkaException as exc:
        if exc.args[0].code() not in STARTING:
            raise
        return True


def _prepare(
    admin: AdminClient, settings: StreamSettings, partitions: int, changelogs: list[str]
) -> None:
    known = admin.list_topics(timeout=settings.broker_patience_s).topics
    if kept := [topic for topic in changelogs if topic in known]:
        compact_only(admin, kept)
    shapes = topic_shapes(
        settings.topics,
        partitions,
        log_retention_ms=settings.log_retention_ms,
        facts_retention_ms=settings.facts_retention_ms,
    )
    prepare_topics(
        settings.librdkafka(),
        shapes,
        replication=settings.replication,
        timeout_s=settings.broker_patience_s,
    )


def _writer(settings: StreamSettings, partition: int) -> TransactionWriter:
    return TransactionWriter(
        settings.librdkafka(),
        f"{settings.prefix}-{partition}",
        partition,
        patience_s=settings.outage_patience_s,
    )


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

"""A log told again to another one: to another cluster, a new version, other partitions."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from confluent_kafka.admin import AdminClient
from msgspec import Struct

from schemas.topics import Topics, TopicShape, topic_shapes
from streams.group import is_left_by_all
from streams.progress import Progress, Span, Watch, unwatched
from streams.retold import Count, Retelling
from streams.settings import KafkaConfig, StreamSettings
from streams.tables.source import Source
from streams.target import NotOurs, Target
from streams.topics import log_partitions, partitions_of, topic_id

LOG_SUFFIX: Final = ".log"


class CannotReplay(Exception):
    """What keeps the log from being told again, and what to do; nothing was written."""


class Wanted(Struct, frozen=True):
    """Which part of the log, to where.

    `topic`: a log's name, in `kafka` (`host:port[,…]`), which is the source's own where it is None.
    `partitions`: how many a new topic gets; None: as many as the source has. `from_ms` (inclusive)
    and `until_ms` (exclusive): times of arrival, in milliseconds. `dry`: only look and count.
    """

    topic: str
    kafka: str | None = None
    partitions: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    dry: bool = False


class Replayed(NamedTuple):
    """One partition of the source, this time: see `Count`. `first` and `end`: the offsets that were
    read, without `end`."""

    partition: int
    first: int
    end: int
    events: dict[str, int]
    contexts: int
    bytes: int
    unreadable: int
    strays: int
    watermarks: int


def replay(
    settings: StreamSettings, wanted: Wanted, watch: Watch = unwatched
) -> Iterator[Replayed]:
    """Tell the committed events of the log of `settings` to another log, in the order of each
    partition:

    1. look whether both logs are fit for it, and how far a replay that was interrupted has come;
    2. make the target, or take it back from the nodes;
    3. write, in transactions, so that whatever interrupts this leaves no event twice or in part;
    4. give it to the nodes.

    Blocks. Raises `CannotReplay`, `TopicsUnfit`, `KafkaException`.
    """
    partitions = log_partitions(settings)
    kafka = settings.librdkafka()
    to_kafka, shape = _target_of(settings, wanted, partitions)
    source = Source(kafka, settings.topics.log)
    target = Target(to_kafka, shape, settings.replication)
    try:
        name = _name_of(settings, wanted)  # 1
        done = _done(target, to_kafka, shape, name)
        spans = {p: _span(source, p, wanted, done.get(p, 0)) for p in range(partitions)}
        if not wanted.dry:
            _check_that_nobody_runs(settings, to_kafka, shape)
            prefix = shape.name.removesuffix(LOG_SUFFIX)
            target.open(f"{prefix}-replay", settings.broker_patience_s)  # 2
        for partition, span in spans.items():
            watch(Progress(partition, 0, span.end - span.start))
        # Somebody may have given the log alone more of them; nodes look by the old number.
        lies_in = partitions_of(kafka, settings.topics.facts) or partitions
        retelling = Retelling(lies_in, shape.partitions, watermarks=wanted.from_ms is None)
        telling = _Telling(source, None if wanted.dry else target, name, retelling)
        for partition, span in spans.items():
            yield _replayed(partition, span, telling.tell(partition, span, watch))  # 3
        if not wanted.dry:
            target.seal()  # 4
    finally:
        source.close()


class _Telling(NamedTuple):
    """What goes on while a partition is told. `target` is None where nothing is to be written."""

    source: Source
    target: Target | None
    name: str
    retelling: Retelling

    def tell(self, partition: int, span: Span, watch: Watch) -> Count:
        """All records of a span, one transaction for each piece that is read."""
        count = Count()
        for piece in self.source.pieces(partition, span.start, span.end):
            told = [
                (one, record)
                for record in piece.records
                for one in self.retelling.of(record, count)
            ]
            if told and self.target is not None:
                self.target.write(told, self.name)
            watch(Progress(partition, piece.reached - span.start, span.end - span.start))
        return count


def _target_of(
    settings: StreamSettings, wanted: Wanted, partitions: int
) -> tuple[KafkaConfig, TopicShape]:
    """Where it is, and what shape it has or gets."""
    prefix = wanted.topic.removesuffix(LOG_SUFFIX)
    if not prefix or prefix == wanted.topic:
        raise CannotReplay(
            f"{wanted.topic} is no log's name: a node finds its log under its prefix and "
            f"{LOG_SUFFIX}; say --to-topic {prefix or 'other'}{LOG_SUFFIX}"
        )
    kafka = settings.librdkafka() | {"group.id": prefix}
    if wanted.kafka is not None:
        kafka |= {"bootstrap.servers": wanted.kafka}
    there = partitions_of(kafka, wanted.topic)
    if there and wanted.partitions not in (None, there):
        raise CannotReplay(
            f"{wanted.topic} has {there} partitions already; leave --partitions out, or say "
            "another --to-topic"
        )
    shapes = topic_shapes(
        Topics(prefix),
        there or wanted.partitions or partitions,
        log_retention_ms=settings.log_retention_ms,
    )
    return kafka, next(shape for shape in shapes if shape.name == wanted.topic)


def _name_of(settings: StreamSettings, wanted: Wanted) -> str:
    """What is replayed: the id of the topic, which no other one has anywhere, and from when."""
    name = topic_id(settings.librdkafka(), settings.topics.log)
    return name if wanted.from_ms is None else f"{name}/{wanted.from_ms}"


def _done(target: Target, kafka: KafkaConfig, shape: TopicShape, name: str) -> dict[int, int]:
    """How far each partition of the source was replayed before."""
    if not partitions_of(kafka, shape.name):
        return {}
    if name.startswith(topic_id(kafka, shape.name)):
        raise CannotReplay(f"{shape.name} is the log itself; say another one with --to-topic")
    try:
        return target.positions(name)
    except NotOurs as exc:
        raise CannotReplay(
            f"{exc} of {shape.name} does not come from this replay; say another --to-topic, or "
            "delete the topic and replay again"
        ) from None


def _span(source: Source, partition: int, wanted: Wanted, done: int) -> Span:
    """What is left to be told of a partition."""
    start, end = source.bounds(partition)
    if wanted.from_ms is not None:
        start = source.offset_at(partition, wanted.from_ms)
    elif start > 0:
        raise CannotReplay(
            f"partition {partition} of the log begins at event {start}: what came of the events "
            "before it is lost to a replay; with --from, what is left is told"
        )
    if wanted.until_ms is not None:
        end = source.offset_at(partition, wanted.until_ms)
    start = max(start, done)
    return Span(start, max(start, end))


def _check_that_nobody_runs(settings: StreamSettings, kafka: KafkaConfig, log: TopicShape) -> None:
    prefix = log.name.removesuffix(LOG_SUFFIX)
    if not is_left_by_all(AdminClient(dict(kafka)), prefix, settings.session_timeout_s):
        raise CannotReplay(f"a node runs on {log.name}; stop every node there, then replay again")


def _replayed(partition: int, span: Span, count: Count) -> Replayed:
    return Replayed(
        partition,
        span.start,
        span.end,
        dict(sorted(count.events.items())),
        len(count.contexts),
        count.bytes,
        count.unreadable,
        count.strays,
        count.watermarks,
    )

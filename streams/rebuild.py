"""Tables and changelogs thrown away, and made again out of the log."""

import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka.admin import AdminClient

from schemas.topics import TAILS, WINDOWS, topic_shapes
from streams.core.head import RULES
from streams.core.rows import LOG_KEY, POSITION_KEY
from streams.group import is_left_by_all
from streams.progress import Progress, Span, Watch, unwatched
from streams.scratch import Scratch, partition_folder
from streams.settings import StreamSettings
from streams.side_by_side import Folder, FoldFailed, with_a_word
from streams.tables.cut import compact_only, cut
from streams.tables.mark import newest_mark
from streams.tables.source import Source
from streams.tables.transaction import Fenced, TransactionWriter
from streams.topics import log_partitions, prepare_topics, topic_id

ROWS_PER_TRANSACTION: Final = 20_000
MADE_OF: Final = "made of"
"""A note in a scratch space: the id of the log that it was folded from, and by which rules."""
UP_TO: Final = "up to"
"""A note in a scratch space: the offset up to which the log is to be folded."""
WRITTEN: Final = "written"
"""A note in a scratch space: where the changelogs ended when all of it was in them."""


class CannotRebuild(Exception):
    """A node runs, or the log does not hold everything. What was touched is unfinished, and no node
    starts with it."""


class Rebuilt(NamedTuple):
    """One partition: events folded and rows written, this time."""

    partition: int
    events: int
    rows: int


def rebuild(settings: StreamSettings, scratch: Path, watch: Watch = unwatched) -> Iterator[Rebuilt]:
    """Make what is missing of the topics, and then, for each partition, as many side by side as
    there are cores:

    1. fence every node off;
    2. fold the log into the scratch space, from its start up to where the nodes had come in it,
       because what came of later events is not published yet, and theirs to publish; in a log that
       was made anew that is nowhere;
    3. cut both changelogs at their ends;
    4. write every row, and the position last: rows without a position are an unfinished rebuild,
       which no node starts with.

    Interrupted and begun again with the same scratch space it goes on: what was folded is not
    folded again, and what was written is not written again where nobody has written since. No facts
    are published again. Blocks. Raises `CannotRebuild`, `TopicsUnfit`, `KafkaException`.
    """
    partitions = log_partitions(settings)
    admin = AdminClient(dict(settings.librdkafka()))
    with closing(Source(settings.librdkafka(), settings.topics.log)) as log:
        for partition in range(partitions):
            _check_that_all_is_there(log, partition)
        if not is_left_by_all(admin, settings.prefix, settings.session_timeout_s):
            raise CannotRebuild(
                "a node of this deployment is running; stop every node, then rebuild again"
            )
        _prepare(admin, settings, partitions)
        spans = _spans(settings, log, scratch, partitions, watch)
    try:
        yield from _side_by_side(settings, scratch, spans, watch)
    except FoldFailed as exc:
        raise CannotRebuild(f"{exc}; rebuild again, it goes on from there") from None
    except Fenced:
        raise CannotRebuild(
            "a node was started meanwhile; stop every node, then rebuild again, it goes on from "
            "there"
        ) from None


def _side_by_side(
    settings: StreamSettings, scratch: Path, spans: dict[int, Span], watch: Watch
) -> Iterator[Rebuilt]:
    """Partitions are folded by processes of their own, and written by us, one by one, while the
    next ones are folded."""
    waiting = iter(spans.items())
    idle: list[Folder] = []
    busy: list[Folder] = []
    writers: dict[int, TransactionWriter] = {}
    folded: deque[tuple[int, int]] = deque()
    try:
        while True:
            while len(busy) < _cores() and (following := next(waiting, None)) is not None:
                partition, span = following
                writers[partition] = _writer(settings, partition)
                writers[partition].open()  # 1
                if span.start < span.end:
                    busy.append(idle.pop() if idle else Folder(settings, scratch))
                    busy[-1].fold(partition, span.end)  # 2
                else:
                    folded.append((partition, 0))
            if folded:
                partition, events = folded.popleft()
                rows = _written(settings, scratch, partition, writers.pop(partition))
                yield Rebuilt(partition, events, rows)
                continue
            if not busy:
                return
            for folder in with_a_word(busy):
                if (count := folder.heard(watch)) is not None:
                    folded.append((folder.partition, count))
                    busy.remove(folder)
                    idle.append(folder)
    finally:
        for folder in (*idle, *busy):
            folder.stop()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare(admin: AdminClient, settings: StreamSettings, partitions: int) -> None:
    known = admin.list_topics(timeout=settings.broker_patience_s).topics
    if kept := [topic for topic in _changelogs(settings) if topic in known]:
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


def _changelogs(settings: StreamSettings) -> list[str]:
    return [settings.topics.changelog(table) for table in (WINDOWS, TAILS)]


def _check_that_all_is_there(log: Source, partition: int) -> None:
    start = log.bounds(partition).start
    if start > 0:
        raise CannotRebuild(
            f"partition {partition} of the log begins at event {start}: what came of the events "
            "before it is in the tables alone, and a rebuild would lose it"
        )


def _spans(
    settings: StreamSettings, log: Source, scratch: Path, partitions: int, watch: Watch
) -> dict[int, Span]:
    log_id = topic_id(settings.librdkafka(), settings.topics.log).encode()
    with closing(Source(settings.librdkafka(), settings.topics.changelog(WINDOWS))) as changelog:
        spans = {p: _span(log, log_id, changelog, scratch, p) for p in range(partitions)}
    for partition, span in spans.items():
        watch(Progress(partition, span.start, span.end))
    return spans


def _span(log: Source, log_id: bytes, changelog: Source, scratch: Path, partition: int) -> Span:
    """From where to where a partition is to be folded. What another log or other rules have left
    behind in its scratch space is thrown away."""
    made_of = b"%b %d %b" % (log_id, RULES, version("rewindow").encode())
    before = Scratch(scratch, partition)
    if before.note(MADE_OF) not in (None, made_of):
        before.close()
        shutil.rmtree(partition_folder(scratch, partition))
        before = Scratch(scratch, partition)
    with closing(before):
        before.write_note(MADE_OF, made_of)
        end = log.bounds(partition).end
        if (mark := newest_mark(changelog, partition)) is not None:
            end = min(end, mark.next if mark.is_of(log_id) else 0)
        elif (noted := before.note(UP_TO)) is not None:
            # An interrupted rebuild has cut the mark off.
            end = min(end, int(noted))
        before.write_note(UP_TO, b"%d" % end)
        position = before.windows.get(POSITION_KEY)
    return Span(0 if position is None else int(position) + 1, end)


def _written(
    settings: StreamSettings, scratch: Path, partition: int, writer: TransactionWriter
) -> int:
    """Put what was folded into the changelogs, unless it is there; how many rows were written."""
    with closing(Scratch(scratch, partition)) as folded:
        if folded.note(WRITTEN) == _state(settings, folded):
            return 0
        admin = AdminClient(dict(settings.librdkafka()))
        cut(admin, _changelogs(settings), partition, writer)  # 3
        rows = _write(settings, folded, writer)  # 4
        folded.write_note(WRITTEN, _state(settings, folded))
        return rows


def _state(settings: StreamSettings, folded: Scratch) -> bytes:
    """Changes with whatever anybody writes to the changelogs, and with what is folded."""
    windows, tails = (_end(settings, topic, folded.partition) for topic in _changelogs(settings))
    return b"%b %d %d" % (folded.windows.get(POSITION_KEY) or b"-", windows, tails)


def _end(settings: StreamSettings, topic: str, partition: int) -> int:
    with closing(Source(settings.librdkafka(), topic)) as source:
        return source.bounds(partition).end


def _write(settings: StreamSettings, folded: Scratch, writer: TransactionWriter) -> int:
    topics = settings.topics
    position = folded.windows.get(POSITION_KEY)
    if position is None:
        return 0
    written = 0
    for table, rows in (
        (TAILS, folded.tails.rows_stored()),
        (WINDOWS, folded.windows.rows_stored()),
    ):
        kept = ((key, value) for key, value in rows if key != POSITION_KEY)
        while chunk := dict(islice(kept, ROWS_PER_TRANSACTION)):
            writer.commit({topics.changelog(table): dict(chunk)}, [])
            written += len(chunk)
    made_of = folded.note(MADE_OF)
    assert made_of is not None, "every span is noted before it is folded"
    log_id = made_of.split()[0]
    writer.commit({topics.changelog(WINDOWS): {LOG_KEY: log_id, POSITION_KEY: position}}, [])
    return written

"""Is the live state what the log says? Proven by replay and hash."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from msgspec import Struct
from rocksdict import Options, Rdict

from schemas.topics import TAILS, WINDOWS
from streams import encodings
from streams.progress import Progress, Watch, unwatched
from streams.replay import Replay
from streams.scratch import OFFSET_KEY, Scratch
from streams.settings import StreamSettings
from streams.tables.digest import Digest, digest_of
from streams.tables.mark import newest_mark
from streams.tables.overlay import Overlay
from streams.tables.restore import of_another_log, restore
from streams.tables.source import Source
from streams.topics import log_partitions, topic_id

QUIET_S: Final = 60.0
"""How long changelogs may be written to before they are given up."""


class NeverQuiet(Exception):
    """A partition was written to all the time; says what to do."""


class Verdict(Struct, frozen=True):
    """One partition: what the log gives, beside what was found in a place.

    `place` is "tables" (a node's RocksDB) or "changelogs". `expected` is None where the log no
    longer begins at its first event, so that nothing can be proven.
    """

    place: str
    found: Digest
    expected: Digest | None

    @property
    def agrees(self) -> bool:
        """Whether every head and every row is the same, byte for byte."""
        return self.found == self.expected


def verify(
    settings: StreamSettings, live: Sequence[Digest], scratch: Path, watch: Watch = unwatched
) -> Iterator[Verdict]:
    """Compare each partition's live tables, then its changelogs, with a replay of the log.

    `live`: the digests that the nodes gave. The scratch space holds one partition at a time, twice,
    and the changelogs of the next one, which are read meanwhile; memory holds nothing that grows.
    Blocks. Raises `TopicsUnfit`, `TablesUnfit`, `NeverQuiet`, `KafkaException`.
    """
    partitions = log_partitions(settings)
    _check_that_it_is_their_log(settings, partitions)
    source = Source(settings.librdkafka(), settings.topics.log)
    by_partition = {digest.partition: digest for digest in live}
    try:
        for partition in range(partitions):
            watch(Progress(partition, 0, source.bounds(partition).end))
        for changelogs in _each_changelogs(settings, partitions, scratch):
            partition = changelogs.partition
            with (
                TemporaryDirectory(dir=scratch) as folder,
                closing(Scratch(Path(folder), partition)) as ours,
            ):
                replay = Replay(source, ours, encodings.measure)
                if (tables := by_partition.get(partition)) is not None:
                    yield _judged("tables", tables, replay, watch)
                yield _judged_changelogs(changelogs, replay, watch)
    finally:
        source.close()


def _check_that_it_is_their_log(settings: StreamSettings, partitions: int) -> None:
    """What another log comes to says nothing of them."""
    kafka, topics = settings.librdkafka(), settings.topics
    log_id = topic_id(kafka, topics.log).encode()
    with closing(Source(kafka, topics.changelog(WINDOWS))) as changelog:
        for partition in range(partitions):
            mark = newest_mark(changelog, partition)
            if mark is not None and not mark.is_of(log_id):
                raise of_another_log(topics.log, partition)


def _judged(place: str, found: Digest, replay: Replay, watch: Watch) -> Verdict:
    replay.fold_up_to(found.position + 1, watch)
    return Verdict(place, found, replay.digest() if replay.start == 0 else None)


def _judged_changelogs(changelogs: "_Changelogs", replay: Replay, watch: Watch) -> Verdict:
    """A disagreement counts when it is found again: while a node goes on, a transaction may be
    marked as committed in one of the topics and not in the other yet."""
    deadline = time.monotonic() + QUIET_S
    before = None
    while True:
        verdict = _judged("changelogs", changelogs.digest(), replay, watch)
        if verdict.agrees or verdict.expected is None or verdict.found == before:
            return verdict
        before = verdict.found
        if time.monotonic() > deadline:
            raise _never_quiet(before.partition)


def _each_changelogs(
    settings: StreamSettings, partitions: int, scratch: Path
) -> Iterator["_Changelogs"]:
    """Those of every partition. The next ones are read while whoever asks looks at these."""
    with ThreadPoolExecutor(1, "changelogs") as thread:
        following: _Changelogs | None = None
        try:
            for partition in range(partitions):
                these = following or _Changelogs(settings, partition, scratch, thread)
                following = None
                with closing(these):
                    if partition + 1 < partitions:
                        following = _Changelogs(settings, partition + 1, scratch, thread)
                    yield these
        finally:
            if following is not None:
                following.close()


class _Changelogs:
    """A partition's tables, restored as a node with an empty disk does it, from now on."""

    def __init__(
        self, settings: StreamSettings, partition: int, scratch: Path, thread: ThreadPoolExecutor
    ) -> None:
        self.partition = partition
        self._kafka = settings.librdkafka()
        self._topics = {table: settings.topics.changelog(table) for table in (TAILS, WINDOWS)}
        self._sources = {t: Source(self._kafka, topic) for t, topic in self._topics.items()}
        self._folder = TemporaryDirectory(dir=scratch)
        self._dbs = {table: _empty_db(Path(self._folder.name, table)) for table in self._topics}
        self._ahead: Future[Digest] | None = thread.submit(self._digest)

    def digest(self) -> Digest:
        """What the changelogs hold, the first time since they are read, then now."""
        ahead, self._ahead = self._ahead, None
        return self._digest() if ahead is None else ahead.result()

    def _digest(self) -> Digest:
        """What was read before is not read again."""
        for table, end in self._ends().items():
            dbs = {self.partition: self._dbs[table]}
            restore(self._kafka, self._topics[table], dbs, OFFSET_KEY, up_to=end)
        tails, windows = (Overlay(db, OFFSET_KEY).rows_stored() for db in self._dbs.values())
        return digest_of(self.partition, windows, tails)

    def close(self) -> None:
        """Let go of all of it."""
        if self._ahead is not None and not self._ahead.cancel():
            wait([self._ahead])
        for source in self._sources.values():
            source.close()
        for db in self._dbs.values():
            db.close()
        self._folder.cleanup()

    def _ends(self) -> dict[str, int]:
        """Where both topics end at one moment: a node may write to them all the time, but not
        without a pause."""
        deadline = time.monotonic() + QUIET_S
        tails, windows = (
            partial(source.bounds, self.partition) for source in self._sources.values()
        )
        while True:
            ends = {TAILS: tails().end, WINDOWS: windows().end}
            if tails().end == ends[TAILS]:
                return ends
            if time.monotonic() > deadline:
                raise _never_quiet(self.partition)


def _never_quiet(partition: int) -> NeverQuiet:
    return NeverQuiet(
        f"partition {partition} is written to faster than its changelogs can be compared; verify "
        "again when less is said"
    )


def _empty_db(path: Path) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    return Rdict(str(path), options)

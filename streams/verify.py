"""Is the live state what the log says? Proven by replay and hash."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from rocksdict import Rdict

from schemas.topics import TAILS, WINDOWS
from streams import encodings
from streams.replay import OFFSET_KEY, Replay, scratch_db
from streams.settings import StreamSettings
from streams.tables.digest import Digest, digest_of
from streams.tables.overlay import Overlay
from streams.tables.restore import restore
from streams.tables.source import Source
from streams.topics import log_partitions

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


def verify(settings: StreamSettings, live: Sequence[Digest], scratch: Path) -> Iterator[Verdict]:
    """Compare each partition's live tables, then its changelogs, with a replay of the log.

    `live`: the digests that the nodes gave. Blocks. Raises `TopicsUnfit`, `NeverQuiet`,
    `KafkaException`.
    """
    partitions = log_partitions(settings)
    source = Source(settings.librdkafka(), settings.topics.log)
    by_partition = {digest.partition: digest for digest in live}
    try:
        for partition in range(partitions):
            replay = Replay(source, partition, scratch, encodings.measure)
            if (tables := by_partition.get(partition)) is not None:
                yield _judged("tables", tables, replay)
            yield _judged_changelogs(_Changelogs(settings, partition, scratch), replay)
    finally:
        source.close()


def _judged(place: str, found: Digest, replay: Replay) -> Verdict:
    replay.fold_up_to(found.position + 1)
    return Verdict(place, found, replay.digest() if replay.start == 0 else None)


def _judged_changelogs(changelogs: "_Changelogs", replay: Replay) -> Verdict:
    """A disagreement counts when it is found again: two topics are read one after the other, and
    while a node goes on they may be of two moments."""
    deadline = time.monotonic() + QUIET_S
    before = None
    while True:
        verdict = _judged("changelogs", changelogs.digest(), replay)
        if verdict.agrees or verdict.expected is None or verdict.found == before:
            return verdict
        before = verdict.found
        if time.monotonic() > deadline:
            raise NeverQuiet(
                f"partition {before.partition} is written to faster than its changelogs can be "
                "compared; verify again when less is said"
            )


class _Changelogs:
    """A partition's tables, restored as a node with an empty disk does it."""

    def __init__(self, settings: StreamSettings, partition: int, scratch: Path) -> None:
        self._settings = settings
        self._partition = partition
        self._dbs = {
            table: scratch_db(scratch, f"changelog-{table}", partition)
            for table in (TAILS, WINDOWS)
        }

    def digest(self) -> Digest:
        """What the changelogs hold now; what was read before is not read again."""
        for table, db in self._dbs.items():
            self._read_on(table, db)
        tails, windows = (Overlay(db, OFFSET_KEY).rows_stored() for db in self._dbs.values())
        return digest_of(self._partition, windows, tails)

    def _read_on(self, table: str, db: Rdict) -> None:
        changelog = self._settings.topics.changelog(table)
        restore(self._settings.librdkafka(), changelog, {self._partition: db}, OFFSET_KEY)

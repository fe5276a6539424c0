"""Is the live state what the log says? Proven by replay and hash."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from rocksdict import Options, Rdict

from schemas.topics import TAILS, WINDOWS
from streams import encodings
from streams.replay import OFFSET_KEY, Replay
from streams.settings import StreamSettings
from streams.tables.digest import Digest, digest_of
from streams.tables.overlay import Overlay
from streams.tables.restore import restore
from streams.tables.source import Source


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

    `live`: the digests that the nodes gave. Blocks. Raises `KafkaException`.
    """
    source = Source(settings.librdkafka(), settings.topics.log)
    by_partition = {digest.partition: digest for digest in live}
    try:
        for partition in range(settings.partitions):
            places = [
                (place, digest)
                for place, digest in (
                    ("tables", by_partition.get(partition)),
                    ("changelogs", _of_changelogs(settings, partition, scratch)),
                )
                if digest is not None
            ]
            replay = Replay(source, partition, scratch, encodings.measure)
            # The live tables may have moved on while the changelogs were read.
            for place, digest in sorted(places, key=lambda found: found[1].position):
                replay.fold_up_to(digest.position + 1)
                yield Verdict(place, digest, replay.digest() if replay.start == 0 else None)
    finally:
        source.close()


def _of_changelogs(settings: StreamSettings, partition: int, scratch: Path) -> Digest:
    """Restore a partition's changelogs as a node with an empty disk does."""
    rows = []
    for table in (TAILS, WINDOWS):
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        db = Rdict(str(scratch / f"changelog-{table}-{partition}"), options)
        restore(
            settings.librdkafka(), settings.topics.changelog(table), {partition: db}, OFFSET_KEY
        )
        rows.append(Overlay(db, OFFSET_KEY).rows_stored())
    tails, windows = rows
    return digest_of(partition, windows, tails)

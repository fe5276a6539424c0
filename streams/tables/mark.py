"""The mark that every transaction leaves in `windows`: how far which log is folded."""

from typing import Final, NamedTuple

from streams.core.rows import LOG_KEY, POSITION_KEY
from streams.tables.source import Source

ROWS_LOOKED_BACK: Final = 5000
"""Every transaction ends with its mark; so it is among the last."""


class Mark(NamedTuple):
    """`next`: the log offset behind the last event that is in the tables. `log_id`: of the topic
    that it lies in, None where a version wrote the mark that did not say."""

    next: int
    log_id: bytes | None

    def is_of(self, log_id: bytes) -> bool:
        """Whether it may be of this log."""
        return self.log_id in (None, log_id)


def newest_mark(changelog: Source, partition: int) -> Mark | None:
    """What the changelog of `windows` says last, None where it says nothing. Blocks. Raises
    `KafkaException`."""
    start, end = changelog.bounds(partition)
    back = ROWS_LOOKED_BACK
    while True:
        first = max(start, end - back)
        found: dict[bytes, bytes | None] = {}
        for piece in changelog.pieces(partition, first, end):
            for row in piece.records:
                if row.key in (LOG_KEY, POSITION_KEY):
                    found[row.key] = row.value
        if (position := found.get(POSITION_KEY)) is not None:
            return Mark(int(position) + 1, found.get(LOG_KEY))
        if first == start:
            return None
        back *= 10

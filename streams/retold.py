"""One record of a log, as it is told again to a log with another number of partitions.

Keys and values stay as they are, byte for byte. Watermarks alone are written anew, where they speak
of contexts that lie in several partitions now.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from msgspec.structs import replace

from schemas.codec import Unreadable, decode_event, encode_event, type_of
from schemas.events import ArchiveAdvanced, LogEvent
from streams.log_writer import partition_of
from streams.tables.record import Record

CONTEXTS_KNOWN: Final = 100_000

_partition_of = lru_cache(CONTEXTS_KNOWN)(partition_of)


class Retold(NamedTuple):
    """A record to write: the partition of the target, and what to put there."""

    partition: int
    key: bytes
    value: bytes


class Count:
    """What was found in one partition.

    `events`: those told again, by their type; `contexts`: whom they speak of; `bytes`: of their
    keys and values. Left out are: `unreadable`, which the fold can't understand; `strays`, which
    lie in a partition where nobody looks for their context; `watermarks`, where they don't count.
    """

    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        self.contexts: set[str] = set()
        self.bytes = 0
        self.unreadable = 0
        self.strays = 0
        self.watermarks = 0

    def add(self, kind: str, told: list[Retold]) -> None:
        """An event of this type is told again."""
        self.events[kind] = self.events.get(kind, 0) + 1
        self.bytes += sum(len(one.key) + len(one.value) for one in told)


class Retelling:
    """From so many partitions to so many. `watermarks`: whether the target gets the whole history,
    so that the seqs that they speak of are the same there."""

    def __init__(self, source: int, target: int, *, watermarks: bool) -> None:
        self._source = source
        self._target = target
        self._watermarks = watermarks

    def of(self, record: Record, count: Count) -> list[Retold]:
        """What is written for a record, in order; and it is counted."""
        try:
            event = decode_event(record.key, record.value)
        except Unreadable:
            count.unreadable += 1
            return []
        if isinstance(event.data, ArchiveAdvanced):
            if not self._watermarks:
                count.watermarks += 1
                return []
            told = self._advanced(record, event, event.data)
        else:
            told = self._said(record, event.subject, count)
        if told:
            count.add(type_of(event.data), told)
        else:
            count.strays += 1
        return told

    def _said(self, record: Record, context_id: str, count: Count) -> list[Retold]:
        if _partition_of(context_id, self._source) != record.partition:
            return []
        count.contexts.add(context_id)
        return [_as_it_is(record, _partition_of(context_id, self._target))]

    def _advanced(self, record: Record, event: LogEvent, data: ArchiveAdvanced) -> list[Retold]:
        """The watermarks of one event, for each partition of the target that has some of them."""
        found: dict[int, list[tuple[str, int]]] = {}
        for context_id, seq in data.watermarks:
            if _partition_of(context_id, self._source) == record.partition:
                to = _partition_of(context_id, self._target)
                found.setdefault(to, []).append((context_id, seq))
        if found == {record.partition: list(data.watermarks)}:
            return [_as_it_is(record, record.partition)]
        told = []
        for to, watermarks in found.items():
            about = replace(data, watermarks=tuple(watermarks))
            one = replace(event, subject=f"archive/{to}", data=about)
            told.append(Retold(to, one.subject.encode(), encode_event(one)))
        return told


def _as_it_is(record: Record, partition: int) -> Retold:
    assert record.key is not None, "it was read"
    assert record.value is not None, "it was read"
    return Retold(partition, record.key, record.value)

"""Following one context: what it missed out of the hot tail, then what comes, without a seam."""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from streams.core.head import Head
from streams.core.rows import event_hash_of, json_of, message_key, version_of
from streams.core.undone import Ranges, UndoneRange
from streams.live import Live
from streams.news import (
    Ended,
    Gap,
    News,
    Replaced,
    Reset,
    Said,
    replaced_in,
    state_of,
    summary_of,
    undone_in,
)

PAGE_MESSAGES: Final = 100


class Hot(Protocol):
    """A context on this node, read anew at each call. May raise `Unavailable`."""

    partition: int

    def head(self) -> Head:
        """Its newest head."""

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Rows of its tail."""


async def follow(
    live: Live, hot: Hot, context_id: str, cursor: int | None
) -> AsyncGenerator[News, None]:
    """News of a context after the version `cursor`; None: from now on.

    Ends behind `Ended`. Raises `Unavailable` when the context leaves this node, `TooSlow`.
    """
    head = hot.head()
    if cursor is not None and cursor > head.version:
        yield Reset(head.version)
        # It may have changed while the reader took that.
        cursor = head.version
    replay = _Replay(hot, context_id.encode(), cursor)
    while page := replay.page():
        for news in page:
            yield news
    # No step was taken since the replay was at its end: what comes now, the hub tells.
    head = hot.head()
    follower = live.join(hot.partition, context_id, head.offset)
    try:
        if cursor is not None and cursor < head.version:
            yield state_of(head)
        if head.status == "tombstoned":
            yield Ended(head.version)
            return
        while True:
            news = await follower.next()
            yield news
            if isinstance(news, Ended):
                return
    finally:
        live.leave(follower)


class _Replay:
    """Pages of what is hot after the cursor. Of compactions only the one that made the summary in
    the window is still known. Of undos those that were not covered by others are; each reached to
    what was the newest message then, so that it comes behind that one."""

    def __init__(self, hot: Hot, context: bytes, cursor: int | None) -> None:
        self._hot = hot
        self._context = context
        head = hot.head()
        self._told = head.version if cursor is None else cursor
        self._next = head.last_seq + 1 if cursor is None else self._first_after(cursor, head)

    def page(self) -> list[News]:
        """The next news; empty at the end."""
        head = self._hot.head()
        news: list[News] = []
        if self._next <= head.trimmed_seq:
            self._next = head.trimmed_seq + 1
            news.append(Gap(self._told + 1, self._version_at(self._next, head)))
        ranges = Ranges(head.undos.ranges, self._context, self._hot.get_many)
        undone = next(ranges.since(self._told), None)
        if undone is not None and undone.to_seq < self._next:
            return news + self._undo(head, undone)
        last = head.last_seq if undone is None else undone.to_seq
        seqs = range(self._next, min(self._next + PAGE_MESSAGES, last + 1))
        for seq, row in zip(seqs, self._rows(seqs), strict=True):
            version = version_of(row)
            news += self._compaction(head, before=version)
            news.append(Said(version, seq, json_of(row), event_hash_of(row) is not None))
            self._told = version
        self._next = seqs.stop
        if not seqs:
            news += self._compaction(head, before=head.version + 1)
        return news

    def _undo(self, head: Head, undone: UndoneRange) -> list[News]:
        news: list[News] = [*self._compaction(head, before=undone.version), undone_in(undone)]
        self._told = undone.version
        return news

    def _compaction(self, head: Head, *, before: int) -> list[Replaced]:
        summary = summary_of(head)
        if summary is None or not self._told < summary.version < before:
            return []
        self._told = summary.version
        return [replaced_in(head)]

    def _first_after(self, cursor: int, head: Head) -> int:
        """The first seq whose version is above the cursor; at or below the trimmed ones where some
        of those were."""
        if cursor < head.trimmed_version:
            return head.trimmed_seq
        hot = range(head.trimmed_seq + 1, head.last_seq + 1)
        at = bisect_right(hot, cursor, key=lambda seq: version_of(self._rows((seq,))[0]))
        return hot.start + at

    def _version_at(self, seq: int, head: Head) -> int:
        return version_of(self._rows((seq,))[0]) if seq <= head.last_seq else head.version

    def _rows(self, seqs: Sequence[int]) -> list[bytes]:
        rows = self._hot.get_many([message_key(self._context, seq) for seq in seqs])
        found = [row for row in rows if row is not None]
        assert len(found) == len(seqs), "what is not trimmed is hot"
        return found

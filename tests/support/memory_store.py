"""The store's port over dictionaries: the real codec and the real fold, no broker and no disk."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

from schemas.codec import decode_event, encode_event
from schemas.events import LogEvent
from streams.core.fold import At, fold
from streams.core.head import Head
from streams.core.outcome import Outcome
from streams.core.rows import json_of, message_key
from streams.core.tokens import Measure
from streams.core.undone import Ranges, UndoneRange
from streams.core.window import Shown, show
from streams.following import follow
from streams.live import Live
from streams.news import News
from streams.store import Answered, Census, Health, Unavailable

FIRST_MS = 1_780_000_000_000
"""When the first record came in, by a clock that goes on by a millisecond a record."""


class MemoryStore:
    """One partition. Every event goes through its bytes, as it would through the log.

    `log`: the events so far. `live`: the hub of its followers. `outage`: raised by every read and
    write while it is set. `outcome`: the answer to every write while it is set. `report`: what
    `health` says.
    """

    def __init__(self, measure: Callable[[str], Measure]) -> None:
        self._measure = measure
        self._heads: dict[str, Head] = {}
        self._rows: dict[bytes, bytes] = {}
        self._changed = asyncio.Condition()
        self.live = Live()
        self.log: list[LogEvent] = []
        self.outage: Exception | None = None
        self.outcome: Outcome | None = None
        self.report = Health(problems=())

    async def ask(self, event: LogEvent) -> Answered:
        self._check()
        if self.outcome is not None:
            return Answered(self.outcome, self._heads.get(event.subject))
        event = decode_event(event.subject.encode(), encode_event(event))
        self.log.append(event)
        offset = len(self.log) - 1
        at = At(offset, FIRST_MS + offset)
        (folded,) = fold(event, at, _Heads(self._heads), self._rows, self._measure)
        for key, row in folded.writes.items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        if folded.head is not None:
            self._heads[folded.context_id] = folded.head
        self.live.publish(folded)
        async with self._changed:
            self._changed.notify_all()
        return Answered(folded.outcome, folded.head)

    async def head(self, context_id: str) -> Head | None:
        self._check()
        return self._heads.get(context_id)

    def owner(self, _context_id: str) -> str | None:
        return None

    def census(self) -> Census:
        return Census(1, frozenset({0}))

    async def contexts(self, prefix: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
        self._check()
        ids = sorted(
            (name for name in self._heads if name.startswith(prefix)), key=lambda n: n.encode()
        )
        rest = [n for n in ids if after is None or n.encode() > after.encode()]
        return [(name, self._heads[name]) for name in rest[:limit]]

    async def show(self, context_id: str, budget: int | None) -> tuple[Head, Shown] | None:
        self._check()
        head = self._heads.get(context_id)
        if head is None:
            return None
        rows = self._rows
        return head, show(
            head, context_id.encode(), lambda keys: [rows.get(key) for key in keys], budget
        )

    async def messages(self, context_id: str, from_seq: int, to_seq: int) -> list[bytes]:
        self._check()
        assert 1 <= from_seq <= to_seq <= self._heads[context_id].last_seq
        return self._said(context_id, range(from_seq, to_seq + 1))

    async def tail(self, context_id: str, offset: int, limit: int) -> list[bytes]:
        self._check()
        last_seq = self._heads[context_id].last_seq
        runs = self._ranges(context_id).counted_back(last_seq, offset, limit)
        return self._said(context_id, (seq for run in runs for seq in run))

    async def undone(self, context_id: str, from_seq: int, to_seq: int) -> list[UndoneRange]:
        self._check()
        return list(self._ranges(context_id).touching(from_seq, to_seq))

    def _said(self, context_id: str, seqs: Iterable[int]) -> list[bytes]:
        context = context_id.encode()
        return [json_of(self._rows[message_key(context, seq)]) for seq in seqs]

    def _ranges(self, context_id: str) -> Ranges:
        hot = _Hot(self._heads, self._rows, context_id)
        return Ranges(hot.head().undos.ranges, context_id.encode(), hot.get_many)

    async def at_version(self, context_id: str, version: int, timeout_s: float) -> bool:
        self._check()
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._heads[context_id].version >= version)
        except TimeoutError:
            return False
        return True

    def follow(self, context_id: str, cursor: int | None) -> AsyncGenerator[News, None]:
        return follow(self.live, _Hot(self._heads, self._rows, context_id), context_id, cursor)

    def health(self) -> Health:
        return self.report

    def _check(self) -> None:
        if self.outage is not None:
            raise self.outage


class _Hot:
    """See `streams.following.Hot`."""

    partition = 0

    def __init__(self, heads: dict[str, Head], rows: dict[bytes, bytes], context_id: str) -> None:
        self._heads = heads
        self._rows = rows
        self._context_id = context_id

    def head(self) -> Head:
        return self._heads[self._context_id]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]


class _Heads:
    def __init__(self, heads: dict[str, Head]) -> None:
        self._heads = heads

    def head(self, context_id: str) -> Head | None:
        return self._heads.get(context_id)


def broker_gone() -> Unavailable:
    """What the real store raises when nothing can be written."""
    return Unavailable("the broker does not answer; ask again", retry_after_s=7)

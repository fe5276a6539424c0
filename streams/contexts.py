"""The contexts that this node owns: the port of the API, over the lanes and the archive."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from heapq import merge
from itertools import chain
from operator import itemgetter
from typing import Final, Protocol

from schemas.events import LogEvent
from streams.core.head import Head
from streams.core.rows import bodies_of
from streams.core.undone import Ranges, UndoneRange
from streams.core.window import Shown, show
from streams.following import follow
from streams.live import Live
from streams.log_writer import LogWriter, partition_of
from streams.membership import Membership
from streams.news import News
from streams.owners import Owners
from streams.recent import RecentRows
from streams.settings import StreamSettings
from streams.store import Answered, Census, Health, Moved, Unavailable
from streams.tables.journal import Journal
from streams.tables.lane import Lane
from streams.waiters import Waiters

AGAIN_WHEN_BEHIND_S: Final = 2
RECENT_ROWS_BYTES_MAX: Final = 64 << 20


class Archive(Protocol):
    """Where messages are when they are no longer hot."""

    async def bodies(self, context_id: str, runs: Sequence[range]) -> list[tuple[int, bytes]]:
        """The archived messages of these runs of seqs, in order. May raise `Unavailable`."""


class _Followed:
    """See `streams.following.Hot`."""

    def __init__(self, contexts: "Contexts", context_id: str) -> None:
        self._contexts = contexts
        self._context_id = context_id
        self.partition = contexts.lane(context_id).partition

    def head(self) -> Head:
        head = self._contexts.lane(self._context_id).head(self._context_id)
        assert head is not None, "only contexts that exist are followed"
        return head

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._contexts.lane(self._context_id).tails.get_many(keys)


class HealthReport(Protocol):
    """How the node is, asked for each time."""

    def __call__(self) -> Health: ...


class Contexts:
    """See `streams.store.Store`. A read is done in one go on the loop, so that head and rows are of
    one version; only the archive is asked afterwards, for messages that never change."""

    def __init__(
        self,
        settings: StreamSettings,
        journal: Journal,
        owners: Owners,
        waiters: Waiters,
        writer: LogWriter,
        archive: Archive | None,
        live: Live,
        health: HealthReport,
        membership: Membership,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._owners = owners
        self._waiters = waiters
        self._writer = writer
        self._archive = archive
        self._live = live
        self._health = health
        self._membership = membership
        self._recent = RecentRows(RECENT_ROWS_BYTES_MAX)

    async def ask(self, event: LogEvent) -> Answered:
        """Append an event to the log and wait for what the fold makes of it."""
        lane = self.lane(event.subject)
        partition = lane.partition
        self._check_that_it_keeps_up(lane)
        future = self._waiters.expect(partition, event.subject, event.id)
        try:
            self._writer.write(event, partition, future)
        except Unavailable:
            future.cancel()
            raise
        # Whatever becomes of whoever waits, the future stays in its place: the next event under
        # this id is not to get the answer to this one.
        await asyncio.wait((future,), timeout=self._settings.write_timeout_s)
        if not future.done():
            raise Unavailable(
                f"no answer within {self._settings.write_timeout_s:g} s; the event may be written: "
                "ask again with the same Idempotency-Key"
            )
        answered = future.result()
        # Whoever has gone on with the partition may not have come to this event yet: who is told of
        # it here would be shown less there.
        self._check_that_it_is_ours()
        return answered

    def _check_that_it_keeps_up(self, lane: Lane) -> None:
        """What would not be answered in time is better not written: its retries would make the log
        longer still. Raises `Unavailable`."""
        waited_s = self._waiters.waited_s(lane.partition)
        if waited_s < self._settings.write_timeout_s / 2:
            return
        if lane.next < lane.end or self._health().stale:
            raise Unavailable(
                f"partition {lane.partition} is {waited_s:.0f} s behind with its writes; nothing "
                "was written, ask again",
                retry_after_s=AGAIN_WHEN_BEHIND_S,
            )

    async def head(self, context_id: str) -> Head | None:
        """The newest head of a context."""
        return self.lane(context_id).head(context_id)

    def owner(self, context_id: str) -> str | None:
        """The other node that has a context."""
        partition = self._partition_of(context_id)
        return None if partition in self._journal.lanes else self._owners.other(partition)

    def census(self) -> Census:
        """Which partitions are here, and who else there is."""
        lanes = [] if self._membership.doubt is not None else self._journal.lanes.values()
        here = frozenset(lane.partition for lane in lanes if lane.caught_up)
        return Census(self._settings.partitions, here, self._owners.others())

    async def contexts(self, prefix: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
        """A page of the contexts on this node."""
        self._check_that_it_is_ours()
        lanes = [lane for lane in self._journal.lanes.values() if lane.caught_up]
        begin = prefix.encode()
        # No id holds NUL, so that this is the next possible one.
        start = begin if after is None else max(begin, after.encode() + b"\0")
        found: list[tuple[str, Head]] = []
        for key, head in merge(*(lane.heads_from(start) for lane in lanes), key=itemgetter(0)):
            if len(found) == limit or not key.startswith(begin):
                break
            found.append((key.decode(), head))
        return found

    async def show(self, context_id: str, budget: int | None) -> tuple[Head, Shown] | None:
        """The window, with the head that it belongs to."""
        lane = self.lane(context_id)
        head = lane.head(context_id)
        if head is None:
            return None
        kept = partial(self._recent.messages, lane)
        return head, show(head, context_id.encode(), lane.tails.get_many, budget, kept)

    async def messages(self, context_id: str, from_seq: int, to_seq: int) -> list[bytes]:
        """The JSON of messages, hot and archived joined by seq."""
        lane, head = self._found(context_id)
        assert 1 <= from_seq <= to_seq <= head.last_seq, "only messages that exist are asked for"
        return await self._joined(lane, context_id, head, [range(from_seq, to_seq + 1)])

    async def tail(self, context_id: str, offset: int, limit: int) -> list[bytes]:
        """The JSON of the newest messages that stand."""
        lane, head = self._found(context_id)
        runs = _ranges(lane, context_id, head).counted_back(head.last_seq, offset, limit)
        return await self._joined(lane, context_id, head, runs)

    async def undone(self, context_id: str, from_seq: int, to_seq: int) -> list[UndoneRange]:
        """What is undone among some messages."""
        lane, head = self._found(context_id)
        return list(_ranges(lane, context_id, head).touching(from_seq, to_seq))

    async def at_version(self, context_id: str, version: int, timeout_s: float) -> bool:
        """Wait until the head has reached a version."""
        try:
            async with asyncio.timeout(timeout_s):
                while (head := self.lane(context_id).head(context_id)) is None or (
                    head.version < version
                ):
                    await self._waiters.change(context_id)
                return True
        except TimeoutError:
            return False

    def follow(self, context_id: str, cursor: int | None) -> AsyncGenerator[News, None]:
        """News of a context, from its hot tail and then live."""
        return follow(self._live, _Followed(self, context_id), context_id, cursor)

    def health(self) -> Health:
        """Whether requests can be served, and why not."""
        return self._health()

    def _found(self, context_id: str) -> tuple[Lane, Head]:
        lane = self.lane(context_id)
        head = lane.head(context_id)
        assert head is not None, "a context that has messages has a head"
        return lane, head

    async def _joined(
        self, lane: Lane, context_id: str, head: Head, runs: Sequence[range]
    ) -> list[bytes]:
        """The JSON of messages, hot and archived joined by seq. What is hot is taken first: while
        the archive is asked, it may be trimmed."""
        first_hot = head.trimmed_seq + 1
        seqs = [seq for run in runs for seq in run[max(0, first_hot - run[0]) :]]
        found = self._recent.messages(lane, context_id.encode(), seqs)
        hot = bodies_of(seqs, found)
        cold = [run[: first_hot - run[0]] for run in runs if run[0] < first_hot]
        rows = await self._archived(context_id, cold) + hot if cold else hot
        if [seq for seq, _ in rows] != list(chain.from_iterable(runs)):
            raise AssertionError(
                f"messages of {context_id!r} are missing: {runs[0][0]} to {runs[-1][-1]}"
            )
        return [body for _, body in rows]

    def lane(self, context_id: str) -> Lane:
        """The lane of a context. Raises `Moved` where it is not here, not caught up, or may be
        somebody else's by now."""
        partition = self._partition_of(context_id)
        lane = self._journal.lanes.get(partition)
        if lane is None:
            raise Moved(f"partition {partition} is not on this node now; ask again")
        if not lane.caught_up:
            raise Moved(
                f"partition {partition} is catching up with the log (event {lane.next} of "
                f"{lane.target}); ask again"
            )
        self._check_that_it_is_ours()
        return lane

    def _check_that_it_is_ours(self) -> None:
        """By now somebody else may have what is here, and have gone on with it. Raises `Moved`."""
        if (doubt := self._membership.doubt) is not None:
            raise Moved(f"{doubt}; ask again")

    def _partition_of(self, context_id: str) -> int:
        return partition_of(context_id, self._settings.partitions)

    async def _archived(self, context_id: str, runs: Sequence[range]) -> list[tuple[int, bytes]]:
        if self._archive is None:
            raise Unavailable(
                f"messages {runs[0][0]} to {runs[-1][-1]} are in the archive, which is switched "
                "off; set REWINDOW_POSTGRES",
                retry_after_s=30,
            )
        return await self._archive.bodies(context_id, runs)


def _ranges(lane: Lane, context_id: str, head: Head) -> Ranges:
    return Ranges(head.undos.ranges, context_id.encode(), lane.tails.get_many)

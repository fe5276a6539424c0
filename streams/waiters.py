"""Whoever waits for the fold: requests for their answer, readers for a version."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection
from functools import partial

from msgspec import Struct

from streams.store import Answered, Moved

Key = tuple[str, str]


class _Waiting(Struct):
    """Events under one id, in the order of their writing; `since`: when the oldest of them was
    expected, by the loop's clock."""

    since: float
    futures: deque[asyncio.Future[Answered]]


class Waiters:
    """Used from the event loop only."""

    def __init__(self) -> None:
        # Of each partition, by context and event; the one that waits longest comes first.
        self._answers: defaultdict[int, dict[Key, _Waiting]] = defaultdict(dict)
        self._changes: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def expect(self, partition: int, context_id: str, event_id: str) -> asyncio.Future[Answered]:
        """A future for the answer to an event. Two events under one id are answered in the order in
        which they were expected, which is the order in which they were written.

        So a future keeps its place until the answer comes, also when nobody waits for it any more:
        wait for it with `asyncio.wait`. Only one that is cancelled, or fails, because its event
        never reached the log leaves its place to the next.
        """
        loop = asyncio.get_running_loop()
        key = (context_id, event_id)
        future: asyncio.Future[Answered] = loop.create_future()
        answers = self._answers[partition]
        if (waiting := answers.get(key)) is None:
            waiting = answers[key] = _Waiting(loop.time(), deque())
        waiting.futures.append(future)
        future.add_done_callback(partial(self._clear, partition, key))
        return future

    def _clear(self, partition: int, key: Key, future: asyncio.Future[Answered]) -> None:
        if not future.cancelled():
            # Seen, so that asyncio does not complain where nobody waits for it.
            future.exception()
        answers = self._answers.get(partition, {})
        waiting = answers.get(key)
        if waiting is not None and future in waiting.futures:
            waiting.futures.remove(future)
            if not waiting.futures:
                del answers[key]

    def waited_s(self, partition: int) -> float:
        """How long the oldest event of a partition has waited for its answer, be somebody still
        there to take it or not: the fold is so far behind, at the least."""
        for waiting in self._answers.get(partition, {}).values():
            return asyncio.get_running_loop().time() - waiting.since
        return 0.0

    def answer(self, partition: int, context_id: str, event_id: str, answered: Answered) -> None:
        """Wake whoever waits for this event, and the readers of its context."""
        waiting = self._answers.get(partition, {}).get((context_id, event_id))
        futures = () if waiting is None else waiting.futures
        if (future := next((f for f in futures if not f.done()), None)) is not None:
            future.set_result(answered)
        for change in self._changes.pop(context_id, ()):
            if not change.done():
                change.set_result(None)

    def change(self, context_id: str) -> asyncio.Future[None]:
        """A future that is done when the fold has touched the context once more."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes[context_id].add(future)
        future.add_done_callback(partial(self._unchanged, context_id))
        return future

    def _unchanged(self, context_id: str, future: asyncio.Future[None]) -> None:
        """Nobody waits any more: there may be a lot of readers, and never a change."""
        changes = self._changes.get(context_id)
        if changes is not None:
            changes.discard(future)
            if not changes:
                del self._changes[context_id]

    def give_up_all_but(self, partitions: Collection[int]) -> None:
        """These partitions are ours now; requests that wait for another one have to ask again."""
        gone = [self._answers.pop(p) for p in list(self._answers) if p not in partitions]
        moved = "the context moved to another node; ask again with the same Idempotency-Key"
        for future in [f for answers in gone for w in answers.values() for f in w.futures]:
            if not future.done():
                future.set_exception(Moved(moved))

"""Whoever waits for the fold: requests for their answer, readers for a version."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection
from functools import partial

from streams.store import Answered, Moved

Key = tuple[int, str, str]


class Waiters:
    """Used from the event loop only."""

    def __init__(self) -> None:
        self._answers: dict[Key, deque[asyncio.Future[Answered]]] = {}
        self._changes: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def expect(self, partition: int, context_id: str, event_id: str) -> asyncio.Future[Answered]:
        """A future for the answer to an event. Two events under one id are answered in the order in
        which they were expected, which is the order in which they were written.

        So a future keeps its place until the answer comes, also when nobody waits for it any more:
        `asyncio.shield` it. Only one that is cancelled, or fails, because its event never reached
        the log leaves its place to the next.
        """
        key = (partition, context_id, event_id)
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._answers.setdefault(key, deque()).append(future)
        future.add_done_callback(partial(self._clear, key))
        return future

    def _clear(self, key: Key, future: asyncio.Future[Answered]) -> None:
        if not future.cancelled():
            # Seen, so that asyncio does not complain where nobody waits for it.
            future.exception()
        queue = self._answers.get(key)
        if queue is not None and future in queue:
            queue.remove(future)
            if not queue:
                del self._answers[key]

    def answer(self, partition: int, context_id: str, event_id: str, answered: Answered) -> None:
        """Wake whoever waits for this event, and the readers of its context."""
        queue = self._answers.get((partition, context_id, event_id), ())
        if (future := next((f for f in queue if not f.done()), None)) is not None:
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
        for key in [key for key in self._answers if key[0] not in partitions]:
            for future in self._answers.pop(key):
                if not future.done():
                    future.set_exception(
                        Moved(
                            "the context moved to another node; ask again with the same "
                            "Idempotency-Key"
                        )
                    )

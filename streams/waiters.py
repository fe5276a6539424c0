"""Whoever waits for the fold: requests for their answer, readers for a version."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection

from streams.store import Answered, Unavailable


class Waiters:
    """Used from the event loop only. Futures that nobody waits for any more do no harm."""

    def __init__(self) -> None:
        self._answers: defaultdict[tuple[int, str, str], deque[asyncio.Future[Answered]]]
        self._answers = defaultdict(deque)
        self._changes: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def expect(self, partition: int, context_id: str, event_id: str) -> asyncio.Future[Answered]:
        """A future for the answer to an event. Two events under one id are answered in the order in
        which they were expected, which is the order in which they were written."""
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._answers[partition, context_id, event_id].append(future)
        return future

    def forget(self, partition: int, context_id: str, event_id: str) -> None:
        """Nobody waits for the oldest answer to this event any more."""
        key = (partition, context_id, event_id)
        while (queue := self._answers.get(key)) and queue[0].done():
            queue.popleft()
        if not self._answers.get(key):
            self._answers.pop(key, None)

    def answer(self, partition: int, context_id: str, event_id: str, answered: Answered) -> None:
        """Wake whoever waits for this event, and the readers of its context."""
        key = (partition, context_id, event_id)
        queue = self._answers.get(key)
        if queue:
            future = queue.popleft()
            if not queue:
                del self._answers[key]
            if not future.done():
                future.set_result(answered)
        for change in self._changes.pop(context_id, ()):
            if not change.done():
                change.set_result(None)

    def change(self, context_id: str) -> asyncio.Future[None]:
        """A future that is done when the fold has touched the context once more."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes[context_id].add(future)
        return future

    def give_up_all_but(self, partitions: Collection[int]) -> None:
        """These partitions are ours now; requests that wait for another one have to ask again."""
        for key in [key for key in self._answers if key[0] not in partitions]:
            for future in self._answers.pop(key):
                if not future.done():
                    future.set_exception(
                        Unavailable(
                            "the context moved to another node; ask again with the same "
                            "Idempotency-Key"
                        )
                    )

"""The live hub: hands news to whoever follows a context, without waiting for any of them."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection
from typing import Final

from streams.core.fold import Folded
from streams.news import News, Said, news_of
from streams.store import Moved

QUEUED_NEWS_MAX: Final = 2000
QUEUED_BYTES_MAX: Final = 8 << 20
"""What one follower may be behind. Followers of one context share the bytes of its messages."""


class TooSlow(Exception):
    """The follower did not keep up; it may come back with its cursor."""


class Follower:
    """News of one context after `offset`, the log offset of its head when the follower came."""

    def __init__(self, partition: int, context_id: str, offset: int) -> None:
        self.partition = partition
        self.context_id = context_id
        self._offset = offset
        self._queue: deque[News] = deque()
        self._queued_bytes = 0
        self._woken = asyncio.Event()
        self._failure: Exception | None = None

    def tell(self, offset: int, news: list[News]) -> None:
        """Take news of the event at `offset`; what is folded again after a rebalance is old."""
        if offset <= self._offset or self._failure is not None:
            return
        self._offset = offset
        self._queue += news
        self._queued_bytes += sum(len(one.message) for one in news if isinstance(one, Said))
        if len(self._queue) > QUEUED_NEWS_MAX or self._queued_bytes > QUEUED_BYTES_MAX:
            self.fail(TooSlow("the reader does not keep up; come back with the cursor"))
        self._woken.set()

    def fail(self, exc: Exception) -> None:
        """End it: the reader is told why, and nothing of what is queued."""
        self._failure = exc
        self._queue.clear()
        self._woken.set()

    async def next(self) -> News:
        """The next news. Raises what `fail` was given."""
        while not self._queue:
            if self._failure is not None:
                raise self._failure
            self._woken.clear()
            await self._woken.wait()
        news = self._queue.popleft()
        if isinstance(news, Said):
            self._queued_bytes -= len(news.message)
        return news


class Live:
    """Used from the event loop only."""

    def __init__(self) -> None:
        self._followers: defaultdict[str, set[Follower]] = defaultdict(set)

    def join(self, partition: int, context_id: str, offset: int) -> Follower:
        """Follow a context from the state that its head has at `offset`."""
        follower = Follower(partition, context_id, offset)
        self._followers[context_id].add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Follow no more."""
        followers = self._followers[follower.context_id]
        followers.discard(follower)
        if not followers:
            del self._followers[follower.context_id]

    def publish(self, folded: Folded) -> None:
        """Tell the followers of a context what an event did to it."""
        followers = self._followers.get(folded.context_id)
        if not followers or folded.head is None:
            return
        news = news_of(folded)
        for follower in followers:
            follower.tell(folded.head.offset, news)

    def end_all_but(self, partitions: Collection[int], why: str) -> None:
        """These partitions are here now; whoever follows something else has to go elsewhere."""
        for followers in self._followers.values():
            for follower in followers:
                if follower.partition not in partitions:
                    follower.fail(Moved(why))

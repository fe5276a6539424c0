"""Clients that append steadily, through every node, to contexts in every partition; as a process of
its own. What they were promised is counted at the end, in what they can read."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count, cycle, pairwise
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import uvloop
from msgspec import Struct

from bench.child import answer, told
from bench.messages import PARTITIONS
from rewindow.errors import CannotStart
from streams.log_writer import partition_of

ANSWER_S: Final = 20.0
RETRY_S: Final = 0.05
PAGE: Final = 1000


class Steady(Struct, frozen=True):
    """Each context gets a message each `every_s`, at the next node in turn, for so long after the
    first `warm_up_s`, at whose end the file `begun` is made."""

    urls: list[str]
    contexts: list[str]
    every_s: float
    warm_up_s: float
    seconds: float
    begun: str


class Kept(Struct, frozen=True):
    """`gaps`: the longest time between two acknowledgements in each partition, in seconds.
    `errors`: contexts in which some append got an error that one retry didn't cure; `said`: the
    last of them, for whoever wonders."""

    gaps: list[float]
    contexts: int
    errors: int
    retried: int
    acknowledged: int
    lost: int
    doubled: int
    said: str


class _Seen:
    """What happened so far."""

    def __init__(self) -> None:
        self.acknowledged: list[list[float]] = [[] for _ in range(PARTITIONS)]
        self.promised: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.errors: set[str] = set()
        self.retried = 0
        self.said = ""


class _Client:
    """Writes one context, and tries again until it is acknowledged: a first time as any client
    does, and then because the bench wants to know what became of it."""

    def __init__(
        self, asked: Steady, session: aiohttp.ClientSession, context: str, number: int, seen: _Seen
    ) -> None:
        self._asked = asked
        self._session = session
        self._context = context
        self._number = number
        self._seen = seen
        self._turns = count(number)

    async def put(self) -> None:
        """Make the context."""
        for _ in self._asked.urls:
            url = f"{self._url()}/v1/contexts/{self._context}"
            with suppress(aiohttp.ClientError):
                async with self._session.put(url, json={}) as reply:
                    return reply.raise_for_status()
        raise CannotStart("no node makes a context")

    async def run(self, begin: float, end: float) -> None:
        """Append until the end."""
        # Not all at the same moment.
        due = begin + self._asked.every_s * (self._number / len(self._asked.contexts))
        for number in count():
            due = max(due + self._asked.every_s, time.monotonic())
            if due > end:
                return
            await asyncio.sleep(due - time.monotonic())
            await self._append(f"{self._context}: {number}")

    async def _append(self, text: str) -> None:
        for tries in count():
            wait_s, seq = await self._tried(text)
            if seq is not None:
                self._seen.promised[self._context][text] = seq
                partition = partition_of(self._context, PARTITIONS)
                self._seen.acknowledged[partition].append(time.monotonic())
                return
            self._seen.retried += tries == 0
            if tries == 1:
                self._seen.errors.add(self._context)
            await asyncio.sleep(wait_s)

    async def _tried(self, text: str) -> tuple[float, int | None]:
        """When to try again, or the seq."""
        message = {"role": "user", "parts": [{"type": "text", "text": text}], "token_count": 1}
        try:
            async with self._session.post(
                f"{self._url()}/v1/contexts/{self._context}/messages",
                json={"message": message},
                headers={"Idempotency-Key": text},
            ) as reply:
                body = await reply.json(loads=msgspec.json.decode)
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            self._seen.said = f"{type(exc).__name__}: {exc}"
            return RETRY_S, None
        if reply.status == 201:
            return 0, int(body["seq"])
        self._seen.said = f"{reply.status}: {body.get('message')}"
        return float(reply.headers.get("Retry-After", RETRY_S)), None

    def _url(self) -> str:
        return self._asked.urls[next(self._turns) % len(self._asked.urls)]


async def main() -> None:
    """Write for so long, then read everything."""
    asked = told(Steady)
    seen = _Seen()
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        clients = [
            _Client(asked, session, context, number, seen)
            for number, context in enumerate(asked.contexts)
        ]
        await asyncio.gather(*(client.put() for client in clients))
        begin = time.monotonic() + asked.warm_up_s
        asyncio.get_running_loop().call_at(begin, Path(asked.begun).touch)
        end = begin + asked.seconds
        await asyncio.gather(*(client.run(time.monotonic(), end) for client in clients))
        lost, doubled = await _compared(asked, session, seen)
    answer(
        Kept(
            [_longest(times, begin) for times in seen.acknowledged],
            len(asked.contexts),
            len(seen.errors),
            seen.retried,
            sum(map(len, seen.promised.values())),
            lost,
            doubled,
            seen.said,
        )
    )


def _longest(times: list[float], begin: float) -> float:
    late = [begin, *(at for at in sorted(times) if at >= begin)]
    return max((b - a for a, b in pairwise(late)), default=float("inf"))


async def _compared(asked: Steady, session: aiohttp.ClientSession, seen: _Seen) -> tuple[int, int]:
    """How many promises are not where they were said to be, and how many messages are there more
    than once."""
    lost = doubled = 0
    for context in asked.contexts:
        paths = cycle([f"{url}/v1/contexts/{context}/messages" for url in asked.urls])
        found = [one async for one in _read(session, paths)]
        lost += len(seen.promised[context].items() - set(found))
        doubled += sum(times - 1 for times in Counter(text for text, _ in found).values())
    return lost, doubled


async def _read(
    session: aiohttp.ClientSession, urls: Iterator[str]
) -> AsyncIterator[tuple[str, int]]:
    """Every message of a context, as text and seq, from whichever node is there."""
    next_seq: int | None = 1
    while next_seq is not None:
        query = {"from_seq": next_seq, "limit": PAGE}
        try:
            async with session.get(next(urls), params=query) as reply:
                reply.raise_for_status()
                page: dict[str, Any] = await reply.json(loads=msgspec.json.decode)
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(RETRY_S)
            continue
        for message in page["messages"]:
            yield message["parts"][0]["text"], message["seq"]
        next_seq = page["next_seq"]


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())

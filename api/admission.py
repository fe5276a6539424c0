"""How many requests are at work at a time. What is too much waits a moment, and is refused then: so
those that are taken stay quick and memory stays flat, however many ask.

The moment is what keeps a crowd in check: a client that asks again at once, whatever it is told,
asks once a second instead of as often as it can.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from api.problems import Problem
from api.refusing import refuse
from api.requests import READS

ASGI = Callable[[Any, Any, Any], Awaitable[None]]

REQUESTS_MAX: Final = 128
"""A node answers some 1,000 a second: more at a time would only be slower, not more a second."""
LARGE_MAX: Final = 16
"""Of requests with a body of more than `LARGE_BYTES`, or of unknown length: such a body may be
4 MiB, and is there several times over while it is read."""
LARGE_BYTES: Final = 256 << 10
LENGTH_DIGITS_MAX: Final = 18
WAITING_MAX: Final = 4096
WAIT_S: Final = 1.0

OPEN_PATHS: Final = ("/health/", "/metrics")
"""Asked for most when there is too much to do."""
LIVE_PATH: Final = "/events"
"""A live stream stays for hours, and has a limit of its own."""


class Admission:
    """Stands before whatever costs time. `requests_max`: how many reads, and how many writes, are
    at work at a time. Each have their own: reads go on where writes wait for a broker."""

    def __init__(self, app: ASGI, requests_max: int) -> None:
        self._app = app
        self._reads = _Places(requests_max)
        self._writes = _Places(requests_max)
        self._large = _Places(min(LARGE_MAX, requests_max))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if _is_counted_elsewhere(scope):
            return await self._app(scope, receive, send)
        places = self._places_for(scope)
        if not await places.take():
            return await refuse(places.refusal(), scope, receive, send)
        try:
            return await self._app(scope, receive, send)
        finally:
            places.give_back()

    def _places_for(self, scope: Any) -> "_Places":
        if scope["method"] in READS:
            return self._reads
        return self._large if _may_be_large(scope["headers"]) else self._writes


class _Places:
    """So many at a time; whoever comes first is served first."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)
        self._waiting = 0

    async def take(self) -> bool:
        """Whether there was one, now or soon."""
        if not self._free.locked():
            return await self._free.acquire()
        if self._waiting >= WAITING_MAX:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """For the next one."""
        self._free.release()

    def refusal(self) -> Problem:
        """Why there was none."""
        return Problem(
            "unavailable",
            f"this node has {self._count} such requests at work, and more wait than it can take; "
            "ask again",
            retry_after=1,
        )


def _may_be_large(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a body of more than `LARGE_BYTES` may come."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not value.isdigit() or int(value[:LENGTH_DIGITS_MAX]) > LARGE_BYTES
    return False


def _is_counted_elsewhere(scope: Any) -> bool:
    path: str = scope.get("path", "")
    return scope["type"] != "http" or path.startswith(OPEN_PATHS) or path.endswith(LIVE_PATH)

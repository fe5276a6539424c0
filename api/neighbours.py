"""The other nodes, and what two nodes say to each other."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from schemas.trail import Trail

PASSED_ON: Final = b"rewindow-passed-on"
"""On a request that another node has passed on: it goes no further."""
HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding"
    b" upgrade host expect".split()
)
"""RFC 9110, 7.6.1, and what the next connection says anew."""
HANDSHAKE: Final = b"sec-websocket-"
CONNECT_S: Final = 2.0
ANSWER_S: Final = 5.0


class Page(NamedTuple):
    """An answer, read to its end."""

    body: bytes
    headers: Mapping[str, str]


class Neighbours:
    """The connections to the other nodes. Made and closed on the event loop.

    `hung_up`: set when this node stops, for those who pass on what has no end of its own.
    """

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Opened when it is first needed."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def page(
        self, url: str, path: str, query: Mapping[str, str], authorization: str | None
    ) -> Page | None:
        """What another node alone has under a path, asked in the name of whoever asks here. None
        where it does not answer, or refuses."""
        headers = {PASSED_ON.decode(): "1"}
        if authorization is not None:
            headers["Authorization"] = authorization
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        try:
            async with self.session.get(
                url + path, params=query, headers=headers, timeout=timeout
            ) as reply:
                body = await reply.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return Page(body, reply.headers) if reply.ok else None

    def hang_up(self) -> None:
        """End the event streams that are passed on: an HTTP server that drains would wait for them.
        What has an end goes on to it."""
        self.hung_up.set()

    async def close(self) -> None:
        """Close what is left."""
        if self._session is not None:
            await self._session.close()


def has(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bool:
    """Whether there is such a header; names are in lower case, as ASGI has them."""
    return name in (key for key, _ in headers)


def target(url: str, scope: Any) -> URL:
    """The same path and query at another node, to the letter."""
    query = scope["query_string"].decode("latin-1")
    return URL(f"{url}{scope['path']}{'?' if query else ''}{query}", encoded=True)


def passed_on(headers: Iterable[tuple[bytes, bytes]], trail: Trail) -> CIMultiDict[str]:
    """The headers of a request, for the next node, with the trail that it has here."""
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        if name not in HOP_BY_HOP and not name.startswith(HANDSHAKE):
            kept.add(name.decode("latin-1"), value.decode("latin-1"))
    kept[PASSED_ON.decode()] = "1"
    if trail.request_id is not None:
        kept["X-Request-Id"] = trail.request_id
    if trail.traceparent is not None:
        kept["traceparent"] = trail.traceparent
    return kept

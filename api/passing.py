"""Passing on: a context lives on one node at a time, and every node takes every request.

A request for a context of another node goes there over HTTP, once. Where the context is on its way
from one node to another, the request waits and is tried again, until its time is over: whoever asks
need not know of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import aiohttp
import structlog
from starlette.websockets import WebSocket

from api.attempts import Answer, Body, until_either
from api.bridge import bridged
from api.neighbours import HOP_BY_HOP, PASSED_ON, Neighbours, has, passed_on, target
from api.observing import REQUEST_ID
from api.problems import Problem, response_to
from api.requests import KEY_HEADER, READS, context_id_of, new_idempotency_key
from api.routing import CONTEXTS
from schemas.limits import RECORD_BYTES_MAX
from streams.store import Moved, Store
from streams.trail import TRAIL

log = structlog.get_logger()

ASGI = Callable[[Any, Any, Any], Awaitable[None]]

AGAIN_S: Final = 0.1
OURS: Final = HOP_BY_HOP | {REQUEST_ID, b"date", b"server"}
"""Headers of an answer that this node writes itself."""


class PassOn:
    """Stands before the routes of contexts. `patience_s`: how long a request may wait for its
    context to be somewhere."""

    def __init__(
        self, app: ASGI, store: Store, neighbours: Neighbours, patience_s: float = 10.0
    ) -> None:
        self._app = app
        self._store = store
        self._neighbours = neighbours
        self._patience_s = patience_s

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        context_id = _context_of(scope)
        if context_id is None or has(scope["headers"], PASSED_ON):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(context_id, scope, receive, send)
        else:
            await self._request(context_id, scope, receive, send)

    # -- requests ---------------------------------------------------------------------------------

    async def _request(self, context_id: str, scope: Any, receive: Any, send: Any) -> None:
        """Try until there is an answer, or the time is over. Every try of a write has one key."""
        _give_key(scope)
        body = Body(receive)
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while True:
            answer = Answer(send, deadline)
            url = self._store.owner(context_id)
            if url is None:
                await self._app(scope, body.again(), answer)
                over = not answer.held_back
            else:
                await self._asked_of(url, context_id, scope, body, answer)
                over = answer.begun
            if over:
                return
            await asyncio.sleep(AGAIN_S)

    async def _asked_of(
        self, url: str, context_id: str, scope: Any, body: "Body", answer: "Answer"
    ) -> None:
        """One try at another node. Without an answer where it can't be reached."""
        asking = asyncio.ensure_future(self._relayed(url, scope, body, answer))
        try:
            while not answer.begun and not asking.done() and not answer.too_late:
                await asyncio.wait({asking}, timeout=AGAIN_S)
                if self._store.owner(context_id) != url:
                    break
            if answer.endless:
                await until_either(asking, body.broken_off(), self._neighbours.hung_up.wait())
            elif answer.begun:
                await until_either(asking, body.broken_off())
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        if answer.endless and asking.cancelled():
            # Half an event at the end is none: who follows comes back with the one before.
            await answer({"type": "http.response.body", "body": b""})
        if answer.too_late and not answer.begun:
            refusal = Moved(f"the node at {url}, which has the context, does not answer; ask again")
            await response_to(refusal)(scope, body.again(), answer)

    async def _relayed(self, url: str, scope: Any, body: "Body", answer: "Answer") -> None:
        try:
            async with self._neighbours.session.request(
                scope["method"],
                target(url, scope),
                headers=passed_on(scope["headers"], TRAIL.get()),
                data=body.chunks() if _has_body(scope["headers"]) else None,
                allow_redirects=False,
            ) as reply:
                headers = [h for h in reply.raw_headers if h[0].lower() not in OURS]
                await answer(
                    {"type": "http.response.start", "status": reply.status, "headers": headers}
                )
                async for chunk in reply.content.iter_any():
                    await answer({"type": "http.response.body", "body": chunk, "more_body": True})
        except (aiohttp.ClientError, OSError) as exc:
            log.debug("a node does not answer", url=url, why=str(exc) or type(exc).__name__)
            return
        await answer({"type": "http.response.body", "body": b""})

    # -- websockets -------------------------------------------------------------------------------

    async def _socket(self, context_id: str, scope: Any, receive: Any, send: Any) -> None:
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while (url := self._store.owner(context_id)) is not None:
            try:
                async with self._neighbours.session.ws_connect(
                    target(url, scope),
                    headers=passed_on(scope["headers"], TRAIL.get()),
                    autoping=True,
                    max_msg_size=2 * RECORD_BYTES_MAX,
                ) as far:
                    return await bridged(WebSocket(scope, receive, send), far)
            except (aiohttp.ClientError, OSError) as exc:
                log.debug("a node takes no stream", url=url, why=str(exc) or type(exc).__name__)
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(AGAIN_S)
        # Here, or nowhere for now, which is said here too.
        return await self._app(scope, receive, send)


def _context_of(scope: Any) -> str | None:
    """The id in the path; None where there is none, or none that can be."""
    if scope["type"] == "lifespan" or not scope["path"].startswith(CONTEXTS):
        return None
    try:
        return context_id_of(scope["path"][len(CONTEXTS) :].partition("/")[0])
    except Problem:
        return None


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return has(headers, b"content-length") or has(headers, b"transfer-encoding")


def _give_key(scope: Any) -> None:
    """A write without a key gets one here, so that every try of it is the same write. In place:
    whoever stands around us looks into the scope afterwards."""
    if scope["method"] not in READS and not has(scope["headers"], KEY_HEADER):
        scope["headers"] = [*scope["headers"], (KEY_HEADER, new_idempotency_key().encode())]

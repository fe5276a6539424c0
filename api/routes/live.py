"""Following a context: over a websocket, or as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import structlog
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from api import requests
from api.asking import existing
from api.live import COME_BACK, DONE, Connections, Frame, LiveRules, frames, why_it_ended
from api.problems import PROBLEM, Problem, invalid
from api.routing import reads, resource
from streams.live import TooSlow
from streams.store import Store, Unavailable

log = structlog.get_logger()

QUERY: Final = ("cursor", "include_messages")
REASON_BYTES_MAX: Final = 120
"""A websocket's close frame holds 123 bytes (RFC 6455, 5.5)."""

EVENT_STREAM: Final = "text/event-stream"

IDLE: Final = 4408
TOO_SLOW: Final = 1008
CLOSE_CODES: Final = {"not_found": 4404, "invalid_request": 4400}
TRY_LATER: Final = 1013


class LiveRoutes:
    """GET stream (websocket), GET events (SSE)."""

    def __init__(self, store: Store, rules: LiveRules, connections: Connections) -> None:
        self._store = store
        self._rules = rules
        self._connections = connections

    def routes(self) -> list[BaseRoute]:
        """What is served where."""
        path = "/v1/contexts/{id}"
        return [
            WebSocketRoute(f"{path}/stream", self._stream),
            resource(f"{path}/events", GET=reads(self._events, query=QUERY)),
        ]

    # -- server-sent events -----------------------------------------------------------------------

    async def _events(self, request: Request) -> Response:
        told = await self._frames(request, _last_event(request))
        if request.method == "HEAD":
            await told.aclose()
            return Response(media_type=EVENT_STREAM)
        return _EventStream(_lines(told), self._connections, self._rules.take_s)

    # -- websocket --------------------------------------------------------------------------------

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            requests.check_query(socket, QUERY)
            told = await self._frames(socket, None)
            self._connections.take()
        except Problem as problem:
            socket.scope[PROBLEM] = problem
            await self._close(socket, CLOSE_CODES.get(problem.code, TRY_LATER), problem.message)
        except Unavailable as exc:
            socket.scope[PROBLEM] = Problem("unavailable", exc.message)
            await self._close(socket, TRY_LATER, exc.message)
        else:
            try:
                await self._converse(socket, told)
            finally:
                self._connections.give_back()

    async def _converse(self, socket: WebSocket, told: AsyncGenerator[Frame, None]) -> None:
        """Tell until the client goes, falls silent, or there is nothing more to tell."""
        telling = asyncio.ensure_future(_tell(socket, told, self._rules.take_s))
        listening = asyncio.ensure_future(self._listen(socket))
        try:
            await asyncio.wait({telling, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, listening):
                task.cancel()
            await asyncio.gather(telling, listening, return_exceptions=True)
            # Before the goodbye, which a reader that takes nothing makes wait.
            await told.aclose()
        if not telling.cancelled():
            if not isinstance(telling.exception(), WebSocketDisconnect):
                await self._close(socket, *_ending(telling))
        elif not listening.cancelled() and not listening.result():
            await self._close(socket, IDLE, f"no word from the client for {self._rules.idle_s:g} s")

    async def _listen(self, socket: WebSocket) -> bool:
        """Any word is a sign of life. False when there was none for too long, True at the end."""
        while True:
            try:
                async with asyncio.timeout(self._rules.idle_s):
                    word = await socket.receive()
            except TimeoutError:
                return False
            if word["type"] == "websocket.disconnect":
                return True

    async def _close(self, socket: WebSocket, code: int, reason: str) -> None:
        cut = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
        # The client may have gone in the meantime, or never take the goodbye.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(self._rules.idle_s):
                await socket.close(code, cut)

    # -- both -------------------------------------------------------------------------------------

    async def _frames(
        self, connection: HTTPConnection, last_seen: int | None
    ) -> AsyncGenerator[Frame, None]:
        """What there is to tell. Raises `Problem`, `Unavailable` before anything is told."""
        context_id = requests.context_id(connection)
        # Read whether it counts or not: a slip of the pen is refused either way.
        cursor = requests.number(connection, "cursor")
        messages = requests.flag(connection, "include_messages", default=True)
        await existing(self._store, context_id)
        news = self._store.follow(context_id, cursor if last_seen is None else last_seen)
        return frames(news, messages=messages, ping_s=self._rules.ping_s)


class _EventStream(StreamingResponse):
    """Takes a connection when it is made, and gives it back when it has been sent, or broke off."""

    def __init__(
        self, lines: AsyncGenerator[bytes, None], connections: Connections, take_s: float
    ) -> None:
        connections.take()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(lines, headers=headers, media_type=EVENT_STREAM)
        self._lines = lines
        self._connections = connections
        self._take_s = take_s

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""

        async def send_in_time(message: Any) -> None:
            async with asyncio.timeout(self._take_s):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except TimeoutError:
            # The server cuts the connection of an answer that is not whole.
            log.info("a reader of events took nothing and was cut off", seconds=self._take_s)
        finally:
            await self._lines.aclose()
            self._connections.give_back()


async def _lines(told: AsyncGenerator[Frame, None]) -> AsyncGenerator[bytes, None]:
    """Frames as events; a comment at the end says why, where the context has not ended."""
    # So that whoever waits for the headers has them, and no proxy keeps them back.
    yield b": following\n\n"
    try:
        async with aclosing(told):
            async for frame in told:
                cursor = b"" if frame.cursor is None else b"id: %d\n" % frame.cursor
                yield b"%bdata: %b\n\n" % (cursor, frame.json)
    except Exception as exc:
        yield b": closed: %b\n\n" % why_it_ended(exc).encode()


def _last_event(request: Request) -> int | None:
    """Where a client that comes back has been; it comes before the cursor of the first time."""
    seen = request.headers.get("Last-Event-ID")
    if not seen:
        return None
    if not seen.isascii() or not seen.isdecimal() or int(seen[:20]) > requests.NUMBER_MAX:
        raise invalid("Last-Event-ID has to be the id of an event of this stream", "Last-Event-ID")
    return int(seen)


async def _tell(socket: WebSocket, told: AsyncGenerator[Frame, None], take_s: float) -> None:
    async for frame in told:
        try:
            async with asyncio.timeout(take_s):
                await socket.send_text(frame.json.decode())
        except TimeoutError:
            raise TooSlow(
                f"the reader took nothing for {take_s:g} s; come back with the cursor"
            ) from None


def _ending(telling: asyncio.Future[None]) -> tuple[int, str]:
    """The close code and its reason, once there is nothing more to tell."""
    match telling.exception():
        case None:
            return DONE, "the context is closed for good"
        case TooSlow() as exc:
            return TOO_SLOW, why_it_ended(exc)
        case Exception() as exc:
            return COME_BACK, why_it_ended(exc)
        case never:
            raise never

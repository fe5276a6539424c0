"""A websocket between a client and the node that has its context."""

import asyncio
import contextlib

import aiohttp
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.attempts import until_either
from api.live import COME_BACK, DONE


async def bridged(near: WebSocket, far: aiohttp.ClientWebSocketResponse) -> None:
    """Everything that either side says, until one of them closes; the other one is told why."""
    await near.accept()
    rising = asyncio.ensure_future(_rising(near, far))
    falling = asyncio.ensure_future(_falling(near, far))
    await until_either(rising, falling)
    if falling.done() and not falling.cancelled() and falling.exception() is None:
        # The client may have gone in the meantime.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await near.close(*falling.result())


async def _rising(near: WebSocket, far: aiohttp.ClientWebSocketResponse) -> None:
    """What the client says, until it goes."""
    while (word := await near.receive())["type"] != "websocket.disconnect":
        if (text := word.get("text")) is not None:
            await far.send_str(text)
        else:
            await far.send_bytes(word.get("bytes") or b"")


async def _falling(near: WebSocket, far: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
    """What the node says; how it closed."""
    while True:
        message = await far.receive()
        match message.type:
            case aiohttp.WSMsgType.TEXT:
                await near.send_text(message.data)
            case aiohttp.WSMsgType.CLOSE:
                return message.data or DONE, message.extra or ""
            case _:
                return COME_BACK, "the node that has the context went away; come back"

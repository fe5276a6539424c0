"""A request that may be tried more than once: its body, and the answer that counts."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from starlette.requests import ClientDisconnect

from api.neighbours import has
from api.problems import MOVED
from schemas.limits import REQUEST_BYTES_MAX

EVENTS: Final = b"text/event-stream"


class Body:
    """A request's body, read once from the client and as often as need be from here."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._read: list[Any] = []
        self._whole = asyncio.Event()

    def again(self) -> Callable[[], Awaitable[Any]]:
        """A `receive` that begins at the beginning."""
        at = 0

        async def receive() -> Any:
            nonlocal at
            if at == len(self._read):
                await self._read_on()
            if at == len(self._read):
                return {"type": "http.disconnect"}
            at += 1
            return self._read[at - 1]

        return receive

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes, from the beginning. A body beyond what any node takes ends where it does."""
        receive = self.again()
        size = 0
        while size <= REQUEST_BYTES_MAX:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            size += len(chunk := message.get("body", b""))
            yield chunk
            if not message.get("more_body", False):
                return

    async def broken_off(self) -> None:
        """Wait until the client has gone. Only once the body was read to its end."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _read_on(self) -> None:
        message = await self._receive()
        if message["type"] == "http.request":
            self._read.append(message)


class Answer:
    """An answer on its way out. One that says that the context has moved is held back until it is
    `too_late` to try again. `begun`: some of it is out. `endless`: it goes on for as long as
    somebody takes it."""

    def __init__(self, send: Any, deadline: float) -> None:
        self.begun = False
        self.endless = False
        self._send = send
        self._deadline = deadline
        self.held_back = False

    @property
    def too_late(self) -> bool:
        """Whether the time for another try is over."""
        return asyncio.get_running_loop().time() > self._deadline

    async def __call__(self, message: Any) -> None:
        """One piece of it."""
        if message["type"] == "http.response.start":
            self.held_back = has(message["headers"], MOVED) and not self.too_late
            self.begun = not self.held_back
            self.endless = dict(message["headers"]).get(b"content-type", b"").startswith(EVENTS)
        if not self.held_back:
            await self._send(message)


async def until_either(one: "asyncio.Future[Any]", *others: Awaitable[Any]) -> None:
    """Wait for the first of them, and take the rest back."""
    tasks = {one, *map(asyncio.ensure_future, others)}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

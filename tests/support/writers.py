"""Writers that do not give up, and what they were promised."""

import asyncio
from itertools import count
from typing import Any

import httpx
from msgspec import Struct

from tests.support.contexts import Context, said
from tests.support.wait import until_async

RETRY_S = 0.05
RETRIED = (429, 503)


class Promise(Struct, frozen=True):
    """What an append was answered: `text` stands at `seq`."""

    context: str
    text: str
    seq: int
    version: int


async def try_append(context: Context, text: str) -> httpx.Response:
    """Once. Where this is not acknowledged, it may be in the log or not."""
    return await context.post({"message": said(text)}, headers={"Idempotency-Key": text})


class Writers:
    """Several at once; each appends one message after the other, under keys of its own, and asks
    again under the same key until it has an answer.

    `promises` is what was acknowledged so far, `surprises` every answer that asks for no retry.
    """

    def __init__(self, url: str, contexts: list[str], *, per_context: int) -> None:
        self.promises: list[Promise] = []
        self.surprises: list[str] = []
        self.retries = 0
        self._url = url
        self._contexts = contexts
        self._names = [f"writer {n}" for n in range(per_context)]
        self._enough = asyncio.Event()

    async def run(self) -> None:
        """Until `finish()`, and until everything that was begun is acknowledged."""
        limits = httpx.Limits(max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=self._url, timeout=30, limits=limits) as client:
            for name in self._contexts:
                assert (await Context(client, name).put()).status_code == 201
            await asyncio.gather(
                *(self._write(Context(client, c), n) for c in self._contexts for n in self._names)
            )

    async def reach(self, promises: int) -> None:
        """Wait until so many appends are acknowledged."""

        async def reached() -> bool:
            return len(self.promises) >= promises

        await until_async(reached, f"{promises} appends are acknowledged")

    def finish(self) -> None:
        """No more messages."""
        self._enough.set()

    async def _write(self, context: Context, name: str) -> None:
        for number in count():
            if self._enough.is_set():
                return
            await self.append(context, f"{name}: {number}")

    async def append(self, context: Context, text: str) -> None:
        """Append a message, under itself as the key, until that is acknowledged."""
        answer = await self._acknowledged(context, text)
        self.promises.append(Promise(context.id, text, answer["seq"], answer["version"]))

    async def _acknowledged(self, context: Context, text: str) -> Any:
        while True:
            try:
                answer = await try_append(context, text)
            except httpx.TransportError:
                pass
            else:
                if answer.status_code == 201:
                    return answer.json()
                if answer.status_code not in RETRIED:
                    self.surprises.append(answer.text)
            self.retries += 1
            await asyncio.sleep(RETRY_S)

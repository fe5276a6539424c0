"""Readers, to whom no node may show a context as it was before."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Final

import httpx

from tests.chaos.told import Told
from tests.chaos.writers import clients
from tests.support.contexts import Context
from tests.support.writers import RETRIED

PAUSE_S: Final = (0.2, 2.0)
STALE: Final = "Rewindow-Stale"


class Reader:
    """Asks any node for any context. What it is shown is at least what was acknowledged before it
    asked, be the node one that has just woken up; or it says that it may be older."""

    def __init__(
        self, urls: Sequence[str], told: Told, finished: Callable[[], bool], *, seed: int
    ) -> None:
        self._urls = urls
        self._told = told
        self._finished = finished
        self._draw = Random(seed)

    async def run(self) -> None:
        """Until it has `finished`."""
        async with clients(self._urls) as nodes:
            while not self._finished():
                await asyncio.sleep(self._draw.uniform(*PAUSE_S))
                if self._told.versions:
                    with suppress(httpx.TransportError):
                        await self._read(self._draw.choice(nodes))

    async def _read(self, node: httpx.AsyncClient) -> None:
        name = self._draw.choice(list(self._told.versions))
        acknowledged = self._told.versions[name]
        answer = await node.get(Context(node, name).path)
        if answer.status_code in RETRIED or STALE in answer.headers:
            return
        if answer.status_code != 200 or answer.json()["version"] < acknowledged:
            self._told.surprises.append(
                f"{name} at {node.base_url} after version {acknowledged}: {answer.text}"
            )

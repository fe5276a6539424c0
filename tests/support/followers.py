"""Clients that follow a context, and come back with their cursor when the line is cut."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

Json = dict[str, Any]
RETRY_S = 0.05


class Follower:
    """Keeps the seqs of the messages that it was told, in the order in which it was told them, and
    which of them stand.

    `cuts`: how often, on average, a line is cut by us after this many frames; None for never.
    """

    def __init__(self, url: str, context_id: str, *, seed: int, cuts: int | None = None) -> None:
        self.seqs: list[int] = []
        self.versions: list[int] = []
        self.standing: set[int] = set()
        self.surprises: list[Json] = []
        self.connections = 0
        self._url = url
        self._path = f"/v1/contexts/{quote(context_id, safe='')}"
        self._random = random.Random(seed)
        self._cuts = cuts
        self._cursor = 0

    async def run(self, until_version: int) -> None:
        """Follow until this version has been told in full."""
        while self._cursor < until_version:
            self.connections += 1
            self._forget_what_is_told_again()
            left = None if self._cuts is None else self._random.randint(1, 2 * self._cuts)
            with suppress(httpx.TransportError, ConnectionClosed, InvalidHandshake, OSError):
                async for cursor, frame in self._frames():
                    self._take(frame)
                    if cursor is not None:
                        self._cursor = cursor
                    left = None if left is None else left - 1
                    if self._cursor >= until_version or left == 0:
                        break
            if self._cursor < until_version:
                await asyncio.sleep(RETRY_S)

    def _forget_what_is_told_again(self) -> None:
        """A version may be of several messages, and the line may have been cut between them."""
        while self.versions and self.versions[-1] > self._cursor:
            self.versions.pop()
            self.seqs.pop()

    def _take(self, frame: Json) -> None:
        match frame["type"]:
            case "message":
                self.seqs.append(frame["seq"])
                self.versions.append(frame["version"])
                self.standing.add(frame["seq"])
            case "undone":
                first, last = frame["range"]["from_seq"], frame["range"]["to_seq"]
                self.standing -= set(range(first, last + 1))
            case "context" | "ping":
                pass
            case _:
                self.surprises.append(frame)

    def _frames(self) -> AsyncIterator[tuple[int | None, Json]]:
        """Frames, each with the cursor to come back with after it."""
        raise NotImplementedError


class WebsocketFollower(Follower):
    """A version is whole when its `context` frame has come, or something of the next one."""

    async def _frames(self) -> AsyncIterator[tuple[int | None, Json]]:
        url = f"{self._url.replace('http', 'ws')}{self._path}/stream?cursor={self._cursor}"
        async with connect(url, proxy=None) as socket:
            async for text in socket:
                frame = json.loads(text)
                match frame["type"]:
                    case "context" | "undone":
                        yield frame["version"], frame
                    case "message":
                        yield frame["version"] - 1, frame
                    case _:
                        yield None, frame


class EventsFollower(Follower):
    """As a browser's EventSource does it: the id of the last event is the cursor."""

    async def _frames(self) -> AsyncIterator[tuple[int | None, Json]]:
        headers = {"Last-Event-ID": str(self._cursor)} if self._cursor else {}
        # Nothing here is encrypted, and making ready for it costs more than everything else.
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=60, verify=False) as client,
            client.stream("GET", f"{self._path}/events?cursor=0", headers=headers) as answer,
        ):
            if answer.status_code != 200:
                return
            cursor = None
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    cursor = int(value)
                elif name == "data":
                    yield cursor, json.loads(value)
                    cursor = None

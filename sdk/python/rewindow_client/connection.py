"""The two doors to a node: what the steps of a call ask for is done here, waiting or awaiting."""

import asyncio
import time
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx

from rewindow_client.calls import Call
from rewindow_client.events import Events
from rewindow_client.exchange import CONNECT_S, Answer, Asking, Heard, Pause, Send, Step, Steps
from rewindow_client.following import Following, Telling
from rewindow_client.frames import AsyncFrames, Frames

T = TypeVar("T")

USER_AGENT: Final = "rewindow-client/0.1.0"
SILENCE_S: Final = 90.0
"""A node says something on a stream every 30 s; a line that is silent for so long is dead."""
LEAST_S: Final = 0.001
"""httpx takes a time-out of 0 for one that is over."""
LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""A stream has a connection for as long as it lasts: others must not wait for it."""


class Connection:
    """The door for code that waits. Threads may share it. Raises `ValueError` as `settings_of`."""

    def __init__(self, base_url: str, api_key: str | None, timeout_s: float) -> None:
        self.asking = Asking(base_url.rstrip("/"), timeout_s)
        self._http = httpx.Client(**settings_of(base_url, api_key), limits=LIMITS)

    def close(self) -> None:
        """Close all lines."""
        self._http.close()

    def ask(self, call: Call[T]) -> T:
        """The answer to a call. Raises `RewindowError`."""
        return self.run(self.asking.ask(call))

    def run(self, steps: Steps[T]) -> T:
        """What the steps come to."""
        heard: Heard = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as end:
                result: T = end.value
                return result
            heard = self._done(step)

    def follow(self, following: Following) -> Frames:
        """Frames, over as many lines as it takes."""
        self.run(following.begin())
        while not following.done:
            with suppress(httpx.RequestError):
                yield from self._line(following)
            yield from self._told(following.catch_up())
            self.run(following.pause())

    def _line(self, following: Following) -> Frames:
        """Frames of one stream, to its end, or until it has to be left."""
        path, query = following.stream()
        with self._http.stream("GET", path, params=query, timeout=silence()) as answer:
            if not following.opened(answer.status_code, answer.headers):
                answer.read()
                return following.refused(_answer(answer, answer.content))
            events = Events()
            for chunk in answer.iter_bytes():
                for event in events.feed(chunk):
                    yield from following.take(event)
                    if following.leaves:
                        return None
        return None

    def _told(self, telling: Telling) -> Frames:
        heard: Heard = None
        while True:
            try:
                step = telling.send(heard)
            except StopIteration:
                return
            if isinstance(step, (Send, Pause)):
                heard = self._done(step)
            else:
                heard = None
                yield step

    def _done(self, step: Step) -> Heard:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        deadline = time.monotonic() + step.within_s
        try:
            with self._http.stream(**request_of(step)) as answer:
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("the answer did not end in time")
                return _answer(answer, bytes(body))
        except httpx.RequestError as exc:
            return exc


class AsyncConnection:
    """The door for code that awaits, in one event loop. Raises `ValueError` as `settings_of`."""

    def __init__(self, base_url: str, api_key: str | None, timeout_s: float) -> None:
        self.asking = Asking(base_url.rstrip("/"), timeout_s)
        self._http = httpx.AsyncClient(**settings_of(base_url, api_key), limits=LIMITS)

    async def close(self) -> None:
        """Close all lines."""
        await self._http.aclose()

    async def ask(self, call: Call[T]) -> T:
        """The answer to a call. Raises `RewindowError`."""
        return await self.run(self.asking.ask(call))

    async def run(self, steps: Steps[T]) -> T:
        """What the steps come to."""
        heard: Heard = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as end:
                result: T = end.value
                return result
            heard = await self._done(step)

    async def follow(self, following: Following) -> AsyncFrames:
        """Frames, over as many lines as it takes."""
        await self.run(following.begin())
        while not following.done:
            with suppress(httpx.RequestError):
                async with aclosing(self._line(following)) as line:
                    async for frame in line:
                        yield frame
            async with aclosing(self._told(following.catch_up())) as missed:
                async for frame in missed:
                    yield frame
            await self.run(following.pause())

    async def _line(self, following: Following) -> AsyncFrames:
        """Frames of one stream, to its end, or until it has to be left."""
        path, query = following.stream()
        async with self._http.stream("GET", path, params=query, timeout=silence()) as answer:
            if not following.opened(answer.status_code, answer.headers):
                await answer.aread()
                following.refused(_answer(answer, answer.content))
                return
            events = Events()
            async for chunk in answer.aiter_bytes():
                for event in events.feed(chunk):
                    for frame in following.take(event):
                        yield frame
                    if following.leaves:
                        return

    async def _told(self, telling: Telling) -> AsyncFrames:
        heard: Heard = None
        while True:
            try:
                step = telling.send(heard)
            except StopIteration:
                return
            if isinstance(step, (Send, Pause)):
                heard = await self._done(step)
            else:
                heard = None
                yield step

    async def _done(self, step: Step) -> Heard:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            async with (
                asyncio.timeout(step.within_s),
                self._http.stream(**request_of(step)) as answer,
            ):
                return _answer(answer, await answer.aread())
        except TimeoutError:
            return httpx.ReadTimeout("the answer did not end in time")
        except httpx.RequestError as exc:
            return exc


# -- both -----------------------------------------------------------------------------------------


def settings_of(base_url: str, api_key: str | None) -> dict[str, Any]:
    """What an httpx client is made with. Raises `ValueError` where the address or the key can be
    none."""
    try:
        address = urlsplit(base_url)
        sound = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"base_url has to be http://host:port, or https; it is {base_url!r}")
    headers = {"User-Agent": USER_AGENT}
    if api_key is not None:
        if not api_key.isascii() or not api_key.isprintable():
            raise ValueError("api_key holds letters beyond printable ASCII; no node has such a key")
        headers["Authorization"] = f"Bearer {api_key}"
    return {"base_url": base_url, "headers": headers}


def request_of(step: Send) -> dict[str, Any]:
    """What httpx is asked for."""
    call = step.call
    headers = {} if call.body is None else {"Content-Type": "application/json"}
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    within = max(LEAST_S, step.within_s)
    return {
        "method": call.method,
        "url": call.path,
        "params": call.query,
        "content": call.body,
        "headers": headers,
        "timeout": httpx.Timeout(within, connect=min(CONNECT_S, within)),
    }


def silence() -> httpx.Timeout:
    """The patience with a stream."""
    return httpx.Timeout(SILENCE_S, connect=CONNECT_S)


def _answer(answer: httpx.Response, body: bytes) -> Answer:
    return Answer(answer.status_code, answer.headers, body)

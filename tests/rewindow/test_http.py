"""A connection whose request never comes to its end, after it has been answered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from api.app import make_api
from rewindow import http
from streams.core.tokens import Measure, approximate
from tests.support.memory_store import MemoryStore
from tests.support.wait import until_async

TOO_LONG = b"PUT /v1/contexts/c HTTP/1.1\r\nHost: node\r\nContent-Length: 9999999\r\n\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def four_bytes_a_token(_encoding: str) -> Measure:
    return approximate


class Quiet(uvicorn.Server):
    """Leaves signals to the tests."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@asynccontextmanager
async def connected(*, keep_alive_s: int) -> AsyncIterator[Connection]:
    """To a server that waits so long for a next request."""
    app = make_api(MemoryStore(four_bytes_a_token), four_bytes_a_token)
    server = Quiet(
        uvicorn.Config(
            app,
            port=0,
            http=http.Http,
            lifespan="off",
            log_config=None,
            timeout_keep_alive=keep_alive_s,
        )
    )
    serving = asyncio.create_task(server.serve())

    async def listens() -> bool:
        return server.started

    await until_async(listens)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        yield reader, writer
    writer.close()
    server.should_exit = True
    await serving


async def status(reader: asyncio.StreamReader) -> int:
    """Of the next answer, which is read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.split(b"content-length: ")[1].split()[0]))
    return int(head.split()[1])


async def test_a_body_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "UNWANTED_S", 0.05)
    async with connected(keep_alive_s=600) as (reader, writer):
        writer.write(TOO_LONG)
        assert await status(reader) == 413
        assert await reader.read() == b""


async def test_who_says_nothing_more_after_an_unwanted_body_is_hung_up_on() -> None:
    async with connected(keep_alive_s=1) as (reader, writer):
        writer.write(TOO_LONG)
        assert await status(reader) == 413
        writer.write(b" " * 9_999_999)
        assert await reader.read() == b""

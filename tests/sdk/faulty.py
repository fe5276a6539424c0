"""Servers that are not what they should be, and lines that break."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

STATE_JSON = (
    b'{"id":"demo","status":"active","token_budget":1,"trigger_ratio":1,"policy":{},"encoding":"",'
    b'"metadata":{},"version":3,"last_seq":0,"archived_seq":0,"used_tokens":0,'
    b'"needs_compaction":false,"created_at":"","updated_at":"","new":"from a newer server"}'
)


def http(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An answer. `length`: what it says of its body, if not the truth."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def refused(status: str, code: str, *headers: str, more: str = "") -> bytes:
    """An answer as a node refuses something."""
    return http(
        status,
        b'{"error":"%b","message":"Do this."%b}' % (code.encode(), more.encode()),
        "Content-Type: application/json",
        *headers,
    )


class Canned:
    """Gives the answers that it was told, one for each request, the last one again and again; an
    empty one cuts the line. `asked`: the requests."""

    def __init__(self, *answers: bytes) -> None:
        self.asked: list[bytes] = []
        self._answers = list(answers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which is closed behind the answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        self.asked.append(head + await reader.readexactly(int(length or 0)))
        writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


class Cutting:
    """Passes requests on to a node, and cuts the line as chance has it: before the request has
    reached the node, before the answer has left, or in its middle. `one_in`: of so many
    pieces that pass, one is cut."""

    def __init__(self, url: str, seed: int, *, one_in: int = 4) -> None:
        self.cuts = 0
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._random = random.Random(seed)
        self._one_in = one_in

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; what is on its way is looked at in pieces."""
        back, there = await asyncio.open_connection(self._host, self._port)
        passing = [self._pass(reader, there), self._pass(back, writer)]
        tasks = list(map(asyncio.ensure_future, passing))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        there.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            if self._random.randrange(self._one_in) == 0:
                self.cuts += 1
                writer.write(piece[: self._random.randrange(len(piece))])
                await writer.drain()
                return
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The address of a server that does this with each connection."""

    lines: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.add(asyncio.ensure_future(served(reader, writer)))

    server = await asyncio.start_server(begun, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

"""One node: the streams and the HTTP server on one event loop, started and stopped in order."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from typing import Any, Final

import msgspec
import structlog
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.app import make_api
from api.routing import json_response, reads
from rewindow.embedded.datafolder import DataFolder
from rewindow.errors import CannotStart
from rewindow.settings import NodeSettings
from streams import encodings
from streams.app import Streams
from streams.tables.restore import TablesUnfit
from streams.topics import TopicsUnfit

log = structlog.get_logger()

EXPELLED: Final = 75
"""Exit status (EX_TEMPFAIL of sysexits.h): another process has this node's place in the group."""
DRAIN_S: Final = 10


class _Server(uvicorn.Server):
    """Signals belong to whoever owns the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_node(settings: NodeSettings) -> int:
    """Run until a signal, or until the node can't go on; returns the exit status.

    Start: data folder and port, broker, topics, tables, HTTP. Stop: HTTP drained, everything folded
    made durable, the group left. Raises `CannotStart`.
    """
    DataFolder(settings.data).hold()
    listener = _listen(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(encodings.measure, "o200k_base")
    streams = Streams(settings, on_expelled=_expelled)
    started = asyncio.create_task(_start(streams))
    await _first(started, stop.wait())
    if not started.done():
        log.info("stopped before the start was over")
        os._exit(0)
    started.result()

    server = _server(streams)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    log.info("node started", url=f"http://{settings.host}:{settings.port}")
    await _first(serving, stop.wait(), asyncio.shield(streams.ended))
    failed = streams.ended.done() or serving.done()
    if streams.ended.done():
        reason = streams.ended.result()
        log.error("the node can't go on", why=str(reason), exc_info=_unforeseen(reason))
    log.info("node stops: requests first, then the tables, then the group")
    server.should_exit = True
    await serving
    await streams.stop()
    return 1 if failed else 0


async def _start(streams: Streams) -> None:
    try:
        await streams.start()
    except TopicsUnfit as exc:
        raise CannotStart(str(exc)) from None


def _unforeseen(reason: Exception) -> Exception | None:
    """A stack trace is for bugs; what an operator has to mend says so in its sentence."""
    return None if isinstance(reason, TablesUnfit) else reason


async def _first(*waited: asyncio.Future[Any] | Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of several; what we made only to wait for it is taken back."""
    tasks = [asyncio.ensure_future(one) for one in waited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for one, task in zip(waited, tasks, strict=True):
        if one is not task:
            task.cancel()


def _expelled() -> None:
    log.error("another process runs under this node's id, or this one was away too long; it ends")
    os._exit(EXPELLED)


def _listen(settings: NodeSettings) -> socket.socket:
    """Take the port first: nothing has to be undone when it is not free."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as exc:
        raise CannotStart(
            f"can't listen on {settings.host}:{settings.port} ({exc.strerror}); choose another "
            "port with REWINDOW_PORT"
        ) from None
    return listener


def _server(streams: Streams) -> _Server:
    app = make_api(streams.contexts, encodings.measure)

    async def digests(_request: Request) -> Response:
        return json_response(msgspec.json.encode(await streams.digests()))

    # For `rewindow verify`; not part of the contract.
    app.router.routes.append(Route("/internal/digests", reads(digests), methods=["GET"]))
    return _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=DRAIN_S,
        )
    )

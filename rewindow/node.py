"""One node: the streams and the HTTP server on one event loop, started and stopped in order."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from typing import Any, Final

import msgspec
import structlog
import uvicorn
from confluent_kafka import KafkaException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.app import make_api
from api.neighbours import PASSED_ON, Neighbours, has
from api.routing import json_response, reads
from rewindow.embedded.datafolder import DataFolder
from rewindow.errors import CannotStart
from rewindow.http import Http
from rewindow.settings import NodeSettings
from rewindow.tracing import traces_of_environment
from streams import encodings
from streams.app import Streams
from streams.archive.errors import ArchiveUnfit
from streams.tables.digest import Digest
from streams.tables.restore import TablesUnfit
from streams.topics import TopicsUnfit
from streams.tracing import Tracing

log = structlog.get_logger()

EXPELLED: Final = 75
"""Exit status (EX_TEMPFAIL of sysexits.h): another process has this node's place in the group."""
DRAIN_S: Final = 10
WORD_BYTES_MAX: Final = 64 << 10


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
    folder = DataFolder(settings.data)
    folder.hold()
    try:
        return await _run(settings)
    finally:
        folder.release()


async def _run(settings: NodeSettings) -> int:
    listener = _listen(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(encodings.measure, "o200k_base")
    tracing, close_traces = traces_of_environment()
    streams = _streams(settings, tracing)
    started = asyncio.create_task(_start(streams))
    await _first(started, stop.wait())
    if not started.done():
        log.info("stopped before the start was over")
        os._exit(0)
    started.result()

    neighbours = Neighbours()
    server = _server(streams, settings, neighbours, tracing)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # What is there now stays, the vocabulary above all: it is not looked through again and again.
    gc.freeze()
    gc.enable()
    log.info("node started", url=f"http://{settings.host}:{settings.port}")
    await _first(serving, stop.wait(), asyncio.shield(streams.ended))
    failed = serving.done()
    reason = streams.ended.result() if streams.ended.done() else None
    if reason is not None and not isinstance(reason, TablesUnfit):
        log.error("the node can't go on", why=str(reason), exc_info=reason)
    log.info("node stops: requests first, then the tables, then the group")
    streams.hang_up()
    neighbours.hang_up()
    server.should_exit = True
    await serving
    await neighbours.close()
    await streams.stop()
    await asyncio.to_thread(close_traces)
    if isinstance(reason, TablesUnfit):
        raise CannotStart(str(reason))
    return 1 if failed or reason is not None else 0


def _streams(settings: NodeSettings, tracing: Tracing) -> Streams:
    try:
        return Streams(settings, on_expelled=_expelled, tracing=tracing)
    except ArchiveUnfit as exc:
        raise CannotStart(str(exc)) from None
    except (KafkaException, OSError, ValueError) as exc:
        why = exc.args[0].str() if isinstance(exc, KafkaException) else exc
        raise CannotStart(
            f"Kafka can't be used as REWINDOW_KAFKA and its kin say ({why}); correct them"
        ) from None


async def _start(streams: Streams) -> None:
    try:
        await streams.start()
    except TopicsUnfit as exc:
        raise CannotStart(str(exc)) from None


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


def _server(
    streams: Streams, settings: NodeSettings, neighbours: Neighbours, tracing: Tracing
) -> _Server:
    app = make_api(
        streams.contexts,
        encodings.measure,
        access=settings.access(),
        live=settings.live(),
        neighbours=neighbours,
        patience_s=settings.moving_patience_s,
        requests_max=settings.requests_max,
        metrics=streams.metrics,
        tracing=tracing,
    )

    async def digests(request: Request) -> Response:
        """Of every node; of this one alone where another node asks."""
        found = await streams.digests()
        if not has(request.headers.raw, PASSED_ON):
            key = request.headers.get("Authorization")
            for url in streams.contexts.census().others:
                page = await neighbours.page(url, "/internal/digests", {}, key)
                if page is not None:
                    found += msgspec.json.decode(page.body, type=list[Digest])
        return json_response(msgspec.json.encode(found))

    # For `rewindow verify`; not part of the contract.
    app.router.routes.append(Route("/internal/digests", reads(digests), methods=["GET"]))
    return _Server(
        uvicorn.Config(
            app,
            http=Http,
            # Its lines go where all go.
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            # Who asks is of interest only where it is counted by address.
            proxy_headers=settings.rate_limit is not None,
            server_header=False,
            # Clients of live streams have little to say.
            ws="websockets-sansio",
            ws_max_size=WORD_BYTES_MAX,
            # Each follower's frames would be compressed anew, on the loop that folds.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )

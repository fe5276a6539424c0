"""HTTP clients in a closed loop, as a process of its own: each sends its next request when it has
the answer to the last one. Requests are bytes made beforehand, and of an answer only its status and
its length are looked at, so that the server is measured."""

import asyncio
import re
import time
from collections.abc import Awaitable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import uvloop
from msgspec import Struct

from bench.child import answer, call, told
from bench.messages import bodies
from bench.results import percentile

APPEND: Final = "append"
GREETING: Final = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
"""Asked by one client after the other before the first request. A server that runs on libuv takes
one new connection in each turn of its loop, and turns are long where answers are large: who came
last would have its first answer half a minute after the others."""
PATIENCE_S: Final = 60.0
"""How long it may take until each client has had an answer."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
# What was read into it is looked at before anything else is read, so that all can share it.
_ROOM: Final = memoryview(bytearray(256 << 10))


class Load(Struct, frozen=True):
    """Each client sends these kinds of requests, in turn, to a share of the contexts of its own, in
    turn, at one of the addresses, for so long after the warm-up, and until each has had an answer.
    A kind is `APPEND`, or what is read of a context: a path below its own."""

    urls: list[str]
    clients: int
    contexts: list[str]
    warm_up_s: float
    seconds: float
    kinds: tuple[str, ...] = (APPEND,)


class Answers(Struct, frozen=True):
    """Of one kind. Times in milliseconds. `cpu_percent`: of one core, what the clients themselves
    used, for all kinds. `begun` and `ended`: times of the day."""

    requests: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_percent: float
    begun: float
    ended: float


class _Seen(Struct, frozen=True):
    """What came of each kind."""

    kinds: list[Answers]


class Request(NamedTuple):
    """As it goes over the wire. `kind`: the number of its kind."""

    kind: int
    sent: bytes


def answers_to(load: Load, folder: Path) -> list[Answers]:
    """Put the load on, in a child process, and tell what came of each kind. Raises `CannotStart`
    where an answer is not what it should be."""
    return call("bench.clients", load, _Seen, folder).kinds


class Connection(asyncio.BufferedProtocol):
    """Sends the next request when it is told to. `sent`: when that was; `kind`: what it was."""

    def __init__(self, requests: Iterator[Request]) -> None:
        self._requests = requests
        self.transport: asyncio.WriteTransport
        self.sent = 0.0
        self.kind = 0
        self._head = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the classes.
        self.transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return _ROOM

    def buffer_updated(self, nbytes: int) -> None:
        """Put the head of an answer together, and count the bytes of its body."""
        if self._missing:
            self._missing -= nbytes
        else:
            self._head += _ROOM[:nbytes]
            if (end := self._head.find(_END)) < 0:
                return
            length = _LENGTH.search(self._head, 0, end)
            if length is None:
                # Whoever waits for us is told by `connection_lost`.
                raise ValueError("an answer without its length")
            self._missing = end + len(_END) + int(length.group(1)) - len(self._head)
        if self._missing == 0:
            head, self._head = self._head, b""
            self.answered(int(head[9:12]), head)

    def send(self) -> None:
        """The next request."""
        self.kind, request = next(self._requests)
        self.sent = time.perf_counter()
        self.transport.write(request)

    def answered(self, status: int, head: bytes) -> None:
        """The answer to the last request is here in full. `head`: as it came, and more behind."""
        raise NotImplementedError


class _Run:
    """What all clients have seen: `times` in seconds, by kinds, of the answers that came after the
    warm-up; `heard` once each client has one."""

    def __init__(self, expected: Sequence[int], clients: int) -> None:
        self.expected = expected
        self.times: list[list[float]] = [[] for _ in expected]
        self.begun = False
        self.silent = clients
        self.heard = asyncio.Event()


class _Client(Connection):
    """One client of a run. `greeted`: it has an answer to `GREETING`, whatever that is."""

    def __init__(self, requests: Iterator[Request], run: _Run) -> None:
        super().__init__(requests)
        self._run = run
        self._silent = True
        loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[None] = loop.create_future()
        self.failed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was closed ({exc})")

    def answered(self, status: int, head: bytes) -> None:
        now = time.perf_counter()
        run = self._run
        if not self.greeted.done():
            self.greeted.set_result(None)
            return
        if status != run.expected[self.kind]:
            self._fail(f"a request was answered with {status}: {head!r}")
            return
        if run.begun:
            run.times[self.kind].append(now - self.sent)
            if self._silent:
                self._silent = False
                run.silent -= 1
                if run.silent == 0:
                    run.heard.set()
        self.send()

    def _fail(self, why: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(why))


async def main() -> None:
    """Send until the time is over and each client has had an answer. One that is not what it should
    be ends it all."""
    asked = told(Load)
    run = _Run([201 if kind == APPEND else 200 for kind in asked.kinds], asked.clients)
    requests = [
        cycle(requests_of(_host(asked, number), _own(asked, number), number, asked.kinds))
        for number in range(asked.clients)
    ]
    loop = asyncio.get_running_loop()
    clients = []
    for number in range(asked.clients):
        host, _, port = _host(asked, number).partition(":")
        client = partial(_Client, requests[number], run)
        clients.append((await loop.create_connection(client, host, int(port)))[1])
        await _unless_failed(clients, clients[-1].greeted)
    for one in clients:
        one.send()
    await _unless_failed(clients, asyncio.sleep(asked.warm_up_s))
    run.begun = True
    begun, begin, cpu_s = time.time(), time.perf_counter(), time.process_time()
    await _unless_failed(clients, asyncio.sleep(asked.seconds))
    await _unless_failed(clients, asyncio.wait_for(run.heard.wait(), PATIENCE_S))
    seconds, cpu_s = time.perf_counter() - begin, time.process_time() - cpu_s
    answer(_Seen([summed_up(one, seconds, cpu_s, begun) for one in run.times]))


def _host(asked: Load, number: int) -> str:
    return urlsplit(asked.urls[number % len(asked.urls)]).netloc


def _own(asked: Load, number: int) -> list[str]:
    """At least one, shared where there are fewer contexts than clients."""
    return asked.contexts[number % len(asked.contexts) :: asked.clients]


def summed_up(times: Sequence[float], seconds: float, cpu_s: float, begun: float) -> Answers:
    """Percentiles and rates of what took so many seconds each, from a time of the day to now."""
    if not times:
        raise RuntimeError(f"not one answer within {seconds:g} s")
    p50, p95, p99 = (1000 * percentile(times, percent) for percent in (50, 95, 99))
    return Answers(
        len(times), len(times) / seconds, p50, p95, p99, 100 * cpu_s / seconds, begun, time.time()
    )


async def _unless_failed(clients: Sequence[_Client], enough: Awaitable[object]) -> None:
    """Wait until it is enough. Raises what it raises, or what made a client fail."""
    waited: list[asyncio.Future[Any]] = [asyncio.ensure_future(enough)]
    waited += (client.failed for client in clients)
    done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()


def requests_of(
    host: str, contexts: Sequence[str], number: int, kinds: Sequence[str] = (APPEND,)
) -> list[Request]:
    """As many of each kind as there are bodies of appends, each client beginning with another body
    and another kind."""
    several = bodies()
    made = []
    for i in range(len(several) * len(kinds)):
        turn, kind = i // len(kinds), (i + number) % len(kinds)
        path = b"/v1/contexts/" + contexts[turn % len(contexts)].encode()
        if kinds[kind] == APPEND:
            body = several[(turn + 13 * number) % len(several)]
            sent = (
                b"POST %b/messages HTTP/1.1\r\nHost: %b\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (path, host.encode(), len(body), body)
            )
        else:
            sent = b"GET %b/%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (
                path,
                kinds[kind].encode(),
                host.encode(),
            )
        made.append(Request(kind, sent))
    return made


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())

"""HTTP clients in a closed loop, as a process of its own: each sends its next request when it has
the answer to the last one. Requests are bytes made beforehand, so that the node is measured."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop
from msgspec import Struct

from bench.child import answer, told
from bench.messages import bodies
from bench.results import percentile


class Appends(Struct, frozen=True):
    """Each client appends to a share of the contexts of its own, in turn, for so long after the
    warm-up, at one of the addresses."""

    urls: list[str]
    clients: int
    contexts: list[str]
    warm_up_s: float
    seconds: float


class Answers(Struct, frozen=True):
    """Times in milliseconds. `cpu_percent`: of one core, what the clients themselves used.
    `begun` and `ended`: times of the day."""

    requests: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_percent: float
    begun: float
    ended: float


class Connection(asyncio.Protocol):
    """Sends the next request when it is told to. `sent`: when that was."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self.transport: asyncio.WriteTransport
        self.parser: httptools.HttpResponseParser
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the classes.
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def send(self) -> None:
        """The next request; the parser tells us of its answer."""
        self.parser = httptools.HttpResponseParser(self)
        request = next(self._requests)
        self.sent = time.perf_counter()
        self.transport.write(request)


class _Client(Connection):
    """`times` gets the seconds that each answer took."""

    def __init__(self, requests: Iterator[bytes], begin: float, times: list[float]) -> None:
        super().__init__(requests)
        self._begin = begin
        self._times = times
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._fail("the connection was closed")

    def on_message_complete(self) -> None:
        """Called by the parser."""
        now = time.perf_counter()
        if self.parser.get_status_code() != 201:
            self._fail(f"an append was answered with {self.parser.get_status_code()}")
            return
        if self.sent >= self._begin:
            self._times.append(now - self.sent)
        self.send()

    def _fail(self, why: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(why))


async def main() -> None:
    """Send until the time is over. An answer that is not 201 ends it all."""
    asked = told(Appends)
    begin = time.perf_counter() + asked.warm_up_s
    times: list[float] = []
    loop = asyncio.get_running_loop()
    clients = []
    for number in range(asked.clients):
        own = asked.contexts[number :: asked.clients]
        url = asked.urls[number % len(asked.urls)]
        host, _, port = urlsplit(url).netloc.partition(":")
        requests = cycle(requests_of(host, own, number))
        client = partial(_Client, requests, begin, times)
        clients.append((await loop.create_connection(client, host, int(port)))[1])
    await _unless_failed(clients, begin - time.perf_counter())
    begun, cpu_s = time.time(), time.process_time()
    await _unless_failed(clients, asked.seconds)
    answer(summed_up(times, asked.seconds, time.process_time() - cpu_s, begun))


def summed_up(times: Sequence[float], seconds: float, cpu_s: float, begun: float) -> Answers:
    """Percentiles and rates of what took so many seconds each, from a time of the day to now."""
    p50, p95, p99 = (1000 * percentile(times, percent) for percent in (50, 95, 99))
    return Answers(
        len(times), len(times) / seconds, p50, p95, p99, 100 * cpu_s / seconds, begun, time.time()
    )


async def _unless_failed(clients: Sequence[_Client], seconds: float) -> None:
    done, _ = await asyncio.wait(
        [client.failed for client in clients],
        timeout=seconds,
        return_when=asyncio.FIRST_COMPLETED,
    )
    for failed in done:
        failed.result()


def requests_of(host: str, contexts: Sequence[str], number: int) -> list[bytes]:
    """Appends as they go over the wire, as many as there are bodies, each client beginning with
    another one."""
    made = []
    several = bodies()
    for i in range(len(several)):
        body = several[(i + 13 * number) % len(several)]
        made.append(
            b"POST /v1/contexts/%b/messages HTTP/1.1\r\nHost: %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (contexts[i % len(contexts)].encode(), host.encode(), len(body), body)
        )
    return made


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())

"""A crowd of HTTP clients that does not wait for its turn, as a process of its own: so many appends
are due a second, whatever the answers are. A client whose answer is late skips what was due
meanwhile."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from urllib.parse import urlsplit

import uvloop
from msgspec import Struct

from bench.child import answer, told
from bench.clients import Connection, Request, requests_of
from bench.results import percentile

LIMIT_S = 30.0
"""How long the last answers are waited for."""


class Crowd(Struct, frozen=True):
    """`clients` connections, which are to send `per_second` appends together, for so long."""

    url: str
    clients: int
    contexts: list[str]
    per_second: float
    seconds: float


class Served(Struct, frozen=True):
    """`taken` got a 201, in so many milliseconds; `refused` a 429 or 503 with Retry-After.
    `otherwise`: all other answers, and connections that broke. `cpu_percent`: of one core."""

    sent: int
    taken: int
    refused: int
    otherwise: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    refused_p95_ms: float
    cpu_percent: float


class _Seen:
    """What came of all requests so far."""

    def __init__(self) -> None:
        self.sent = 0
        self.otherwise = 0
        self.taken: list[float] = []
        self.refused: list[float] = []


class _Client(Connection):
    """Sends when `due` and when it has the answer to the last one."""

    def __init__(self, requests: Iterator[Request], seen: _Seen) -> None:
        super().__init__(requests)
        self._seen = seen
        self.at_rest = asyncio.Event()
        self.at_rest.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._seen.otherwise += 1
        self.at_rest.set()

    def due(self) -> None:
        """Send the next request, if the last one is answered."""
        if not self.at_rest.is_set() or self.transport.is_closing():
            return
        self.at_rest.clear()
        self._seen.sent += 1
        self.send()

    def answered(self, status: int, head: bytes) -> None:
        took_s = time.perf_counter() - self.sent
        self.at_rest.set()
        if status == 201:
            self._seen.taken.append(took_s)
        elif status in (429, 503) and b"\r\nretry-after:" in head.lower():
            self._seen.refused.append(took_s)
        else:
            self._seen.otherwise += 1


async def main() -> None:
    """Send for so long, wait for what is still to come, and sum up."""
    asked = told(Crowd)
    seen = _Seen()
    clients = await _connected(asked, seen)
    begun, cpu_s = time.perf_counter(), time.process_time()
    turn = cycle(clients)
    due = 0
    while (passed_s := time.perf_counter() - begun) < asked.seconds:
        while due < passed_s * asked.per_second:
            next(turn).due()
            due += 1
        await asyncio.sleep(0.001)
    cpu_s = time.process_time() - cpu_s
    await asyncio.wait([asyncio.create_task(c.at_rest.wait()) for c in clients], timeout=LIMIT_S)
    answer(
        _summed_up(seen, 100 * cpu_s / asked.seconds, sum(not c.at_rest.is_set() for c in clients))
    )


async def _connected(asked: Crowd, seen: _Seen) -> list[_Client]:
    host, _, port = urlsplit(asked.url).netloc.partition(":")
    loop = asyncio.get_running_loop()
    clients = []
    for number in range(asked.clients):
        requests = cycle(requests_of(host, asked.contexts, number))
        made = partial(_Client, requests, seen)
        clients.append((await loop.create_connection(made, host, int(port)))[1])
    return clients


def _summed_up(seen: _Seen, cpu_percent: float, unanswered: int) -> Served:
    taken = seen.taken or [0.0]
    p50, p95, p99 = (1000 * percentile(taken, percent) for percent in (50, 95, 99))
    return Served(
        seen.sent,
        len(seen.taken),
        len(seen.refused),
        seen.otherwise + unanswered,
        p50,
        p95,
        p99,
        1000 * percentile(seen.refused or [0.0], 95),
        cpu_percent,
    )


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())

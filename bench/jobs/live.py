"""How soon followers are told, and whether the node's memory stays flat."""

import asyncio
import json
import time
from itertools import cycle
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import psutil
from websockets.asyncio.client import ClientConnection, connect

from bench import kafka
from bench.http import Http
from bench.messages import bodies
from bench.records import records
from bench.results import Aim, Outcome, Row, Table, figure, percentile
from bench.servers import QuietNode, running, servers
from bench.stage import Stage
from bench.watching import until
from schemas.topics import Topics

FOLLOWERS: Final = (1, 200)
APPENDS: Final = 200
CONTEXTS: Final = 200
EVENTS: Final = 200_000
CONNECTS: Final = 5_000
AT_ONCE: Final = 20
CHUNK: Final = 20_000
MB: Final = 1_000_000
FLAT: Final = 1.15

TIMED: Final = f"""\
Latency: {APPENDS} appends of 1 KB over HTTP, one after the other; for each, from the moment that \
its 201 has been read to the moment that a follower has read its frame, over all followers of the \
context (0 where the frame was there first). All followers are in one process, which reads them in \
turn. Memory: the resident set of a node, first after {EVENTS // 10:,} events of one message over \
{CONTEXTS} contexts and {CONNECTS // 10:,} websockets opened and closed, then after {EVENTS:,} \
events and {CONNECTS:,} websockets; the archive is on."""


class _Told(NamedTuple):
    """When each seq was read, in seconds of this process's clock."""

    at: dict[int, float]


def run(stage: Stage) -> Outcome:
    """One deployment for the latencies of every round, one for the memory."""
    latencies: dict[int, list[list[float]]] = {count: [] for count in FOLLOWERS}
    with servers(stage.folder) as ours:
        kafka.make_deployment(ours.kafka, "live")
        with running(ours.new_node("live")) as node:
            for number in range(stage.rounds):
                for count in FOLLOWERS:
                    name = f"followed-{number}-{count}"
                    Http(node.url).put(name)
                    seen = asyncio.run(_latencies(node.url, name, count, stage.much(APPENDS)))
                    latencies[count].append(seen)
                    stage.say(f"{count} followers: p50 {1000 * percentile(seen, 50):.1f} ms")
        kafka.make_deployment(ours.kafka, "memory")
        with running(ours.new_node("memory")) as node:
            first = _loaded(stage, ours.kafka, node, 0, stage.much(EVENTS) // 10)
            last = _loaded(stage, ours.kafka, node, stage.much(EVENTS) // 10, stage.much(EVENTS))
    return _outcome(latencies, first, last)


async def _latencies(url: str, context: str, count: int, appends: int) -> list[float]:
    address = f"ws://{urlsplit(url).netloc}/v1/contexts/{context}/stream"
    sockets = [await connect(address, proxy=None) for _ in range(count)]
    told = [asyncio.create_task(_told(socket, appends)) for socket in sockets]
    answered = await asyncio.to_thread(_answered, url, context, appends)
    found = await asyncio.gather(*told)
    for socket in sockets:
        await socket.close()
    return [max(0.0, one.at[seq] - answered[seq]) for one in found for seq in range(1, appends + 1)]


def _answered(url: str, context: str, appends: int) -> dict[int, float]:
    http = Http(url)
    answered = {}
    for seq, body in zip(range(1, appends + 1), cycle(bodies()), strict=False):
        http.append(context, body)
        answered[seq] = time.perf_counter()
    return answered


async def _told(socket: ClientConnection, appends: int) -> _Told:
    told = _Told({})
    while len(told.at) < appends:
        frame = json.loads(await socket.recv())
        if frame["type"] == "message":
            told.at[frame["seq"]] = time.perf_counter()
    return told


def _loaded(stage: Stage, address: str, node: QuietNode, first: int, last: int) -> int:
    """The resident set in bytes, after events `first` to `last` and the connects that go along."""
    contexts = [f"c-{number}" for number in range(CONTEXTS)]
    http = Http(node.url)
    for context in contexts if first == 0 else ():
        http.put(context)
    for begin in range(first, last, CHUNK):
        end = min(begin + CHUNK, last)
        chunk = records(contexts, end - begin, first=begin)
        kafka.produce(address, Topics("memory").log, chunk)
        until(lambda: _archived(http, contexts) >= end, f"{end} messages are archived")  # noqa: B023
    connects = (last - first) * CONNECTS // EVENTS
    asyncio.run(_connects(node.url, contexts[0], connects))
    assert node.pid is not None, "it runs"
    size = psutil.Process(node.pid).memory_info().rss
    stage.say(f"{last:,} events, {connects:,} connects: {size / MB:.0f} MB")
    return int(size)


def _archived(http: Http, contexts: list[str]) -> int:
    """How many messages the last context says there are in the archive, of all contexts alike."""
    return int(http.get(contexts[-1])["archived_seq"]) * len(contexts)


async def _connects(url: str, context: str, count: int) -> None:
    address = f"ws://{urlsplit(url).netloc}/v1/contexts/{context}/stream"

    async def some(number: int) -> None:
        for _ in range(number):
            async with connect(address, proxy=None):
                pass

    await asyncio.gather(*(some(count // AT_ONCE) for _ in range(AT_ONCE)))


def _outcome(latencies: dict[int, list[list[float]]], first: int, last: int) -> Outcome:
    rows = [
        Row(
            f"{count} follower{'s' if count > 1 else ''}",
            {
                f"p{percent} ms": figure([1000 * percentile(seen, percent) for seen in rounds])
                for percent in (50, 95, 99)
            },
        )
        for count, rounds in latencies.items()
    ]
    memory = [
        Row("after a tenth", {"RSS MB": figure([first / MB])}),
        Row("at the end", {"RSS MB": figure([last / MB])}),
    ]
    return Outcome(
        TIMED,
        [Table("From the 201 to the frame", rows), Table("Memory of the node", memory)],
        [Aim("RSS at the end ÷ after a tenth", FLAT, last / first, most=True)],
    )

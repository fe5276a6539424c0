"""Three nodes of one deployment: every node takes every request, and any of them may go."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals

import httpx
import pytest

from tests.support.commands import rewindow
from tests.support.contexts import Context, texts
from tests.support.doors import replayed
from tests.support.live_node import LiveNode, own_database
from tests.support.servers import running
from tests.support.wait import until_async
from tests.support.writers import Writers

NODES = 3
CONTEXTS = [f"context {number}" for number in range(12)]


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[list[LiveNode]]:
    """All of one deployment; they share the folder of their logs, and nothing else."""
    with ExitStack() as stack:
        postgres = stack.enter_context(own_database(postgres_url))
        first = LiveNode(tmp_path_factory.mktemp("nodes"), kafka, postgres, node_id="node-1")
        others = [
            LiveNode(
                tmp_path_factory.mktemp("nodes"),
                kafka,
                postgres,
                prefix=first.told["prefix"],
                node_id=f"node-{number}",
            )
            for number in range(2, NODES + 1)
        ]
        yield [stack.enter_context(running(node)) for node in (first, *others)]


@pytest.fixture
async def clients(nodes: list[LiveNode]) -> AsyncIterator[list[httpx.AsyncClient]]:
    clients = [httpx.AsyncClient(base_url=node.url, timeout=60) for node in nodes]
    yield clients
    for client in clients:
        await client.aclose()


async def shares(nodes: list[LiveNode]) -> list[int]:
    """How many partitions each node has."""
    async with httpx.AsyncClient(timeout=3) as client:
        found = []
        for node in nodes:
            answer = await client.get(
                f"{node.url}/internal/digests", headers={"Rewindow-Passed-On": "1"}
            )
            found.append(len(answer.json()))
        return found


async def settled(nodes: list[LiveNode]) -> bool:
    """Whether each of these nodes has something, and together they have all."""
    try:
        found = await shares(nodes)
    except httpx.TransportError:
        return False
    return all(found) and sum(found) == nodes[0].settings.partitions


async def test_every_node_answers_for_every_context(
    nodes: list[LiveNode], clients: list[httpx.AsyncClient]
) -> None:
    await until_async(lambda: settled(nodes), "the partitions are shared out")
    for number, name in enumerate(CONTEXTS):
        for turn in range(NODES):
            context = Context(clients[(number + turn) % NODES], name)
            assert (await context.put()).status_code == (201 if turn == 0 else 200)
            await context.say(f"said at node {turn}")
    for client in clients:
        listed = (await client.get("/v1/contexts", params={"prefix": "context "})).json()
        assert [context["id"] for context in listed["contexts"]] == sorted(CONTEXTS)
        for name in CONTEXTS:
            tail = (await Context(client, name).read("tail")).json()["messages"]
            assert texts(tail) == [f"said at node {turn}" for turn in range(NODES)]


@pytest.mark.parametrize("by", [SIGKILL, SIGTERM, SIGSTOP])
async def test_a_node_may_go_in_the_middle_of_everything(
    nodes: list[LiveNode], clients: list[httpx.AsyncClient], by: Signals
) -> None:
    """It is written at the two that stay, which have to cope."""
    gone, *stay = nodes
    contexts = [f"{by.name} {number}" for number in range(8)]
    writers = [
        Writers(node.url, [f"{name} {at}" for name in contexts[:4]], per_context=1)
        for at, node in enumerate(stay)
    ]
    writing = asyncio.gather(*(one.run() for one in writers))
    for one in writers:
        await one.reach(40)
    if by == SIGSTOP:
        gone.send(SIGSTOP)
        await until_async(lambda: settled(stay), "the others have taken its partitions")
        for one in writers:
            await one.reach(len(one.promises) + 100)
        # It wakes up as a node that has lost everything, and must not undo anything.
        gone.send(SIGCONT)
        await asyncio.to_thread(gone.wait_ended)
    else:
        await asyncio.to_thread(gone.end, by)
        for one in writers:
            await one.reach(len(one.promises) + 100)
    await asyncio.to_thread(gone.begin)
    for one in writers:
        await one.reach(len(one.promises) + 20)
        one.finish()
    await writing
    for one in writers:
        assert one.surprises == []
    promised = {
        name: sorted(p.seq for one in writers for p in one.promises if p.context == name)
        for name in {p.context for one in writers for p in one.promises}
    }
    for name, seqs in promised.items():
        bodies = await replayed(clients[1], name)
        assert seqs == list(range(1, len(bodies) + 1)), "each once, and nothing else"

    await until_async(lambda: settled(nodes), "the partitions are shared out again")
    verified = await asyncio.to_thread(lambda: rewindow("verify", **stay[0].environment))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stdout.count("as the log says") == 2 * nodes[0].settings.partitions


async def test_who_stops_hands_its_partitions_over_at_once(
    tmp_path_factory: pytest.TempPathFactory, kafka: str
) -> None:
    """And does not wait for a session that lasts longer than anybody here would wait."""
    told = {"session_timeout_s": "80"}
    with ExitStack() as stack:
        stops = LiveNode(tmp_path_factory.mktemp("stops"), kafka, None, **told)
        told |= {"prefix": stops.told["prefix"], "node_id": "node-2"}
        stays = LiveNode(tmp_path_factory.mktemp("stays"), kafka, None, **told)
        for node in (stops, stays):
            stack.enter_context(running(node))
        await until_async(lambda: settled([stops, stays]), "the partitions are shared out")
        assert await asyncio.to_thread(stops.end) == 0
        await until_async(lambda: settled([stays]), "the other one has all")
        await asyncio.to_thread(stops.begin)
        await until_async(lambda: settled([stops, stays]), "they are shared out again")
        # Who is alone keeps its place, and comes back to it.
        assert await asyncio.to_thread(stops.end) == 0
        await until_async(lambda: settled([stays]), "the other one has all again")
        assert await asyncio.to_thread(stays.end) == 0
        await asyncio.to_thread(stays.begin)
        assert await settled([stays])

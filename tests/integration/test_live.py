"""Very many followers of a node that is busy: each is told everything, once and in order."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.support.contexts import Context, said
from tests.support.followers import EventsFollower, Follower, WebsocketFollower
from tests.support.live_node import LiveNode, live_node

CONTEXTS = 50
APPENDS_PER_CONTEXT = 100
FRAMES_BETWEEN_CUTS = 40
UNDOS = 100


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("live"), kafka, postgres_url) as node:
        yield node


async def append_all(client: httpx.AsyncClient, name: str) -> None:
    context = Context(client, name)
    for number in range(APPENDS_PER_CONTEXT):
        answer = await context.post({"message": said(f"{name} says {number}", tokens=3)})
        assert answer.status_code == 201, answer.text


def followers_of(url: str, name: str, seed: int) -> list[Follower]:
    cuts = FRAMES_BETWEEN_CUTS
    return [
        WebsocketFollower(url, name, seed=seed),
        EventsFollower(url, name, seed=seed),
        WebsocketFollower(url, name, seed=seed, cuts=cuts),
        EventsFollower(url, name, seed=seed + 1, cuts=cuts),
    ]


async def test_each_of_200_followers_is_told_everything_once_and_in_order(node: LiveNode) -> None:
    names = [f"live {number}" for number in range(CONTEXTS)]
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
        for name in names:
            assert (await Context(client, name).put()).status_code == 201
        followers = [
            follower
            for seed, name in enumerate(names)
            for follower in followers_of(node.url, name, 2 * seed)
        ]
        following = asyncio.gather(*(one.run(APPENDS_PER_CONTEXT) for one in followers))
        await asyncio.gather(*(append_all(client, name) for name in names))
        async with asyncio.timeout(120):
            await following

    assert len(followers) == 200
    for follower in followers:
        assert follower.surprises == []
        assert follower.seqs == list(range(1, APPENDS_PER_CONTEXT + 1))
        assert follower.versions == follower.seqs
    assert sum(one.connections for one in followers) > 1.5 * len(followers), "lines were cut"


async def test_followers_know_what_stands_however_often_their_line_is_cut(node: LiveNode) -> None:
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
        context = Context(client, "undone")
        await context.put()
        followers = [one for seed in range(4) for one in followers_of(node.url, "undone", 2 * seed)]
        following = asyncio.gather(*(one.run(2 * UNDOS) for one in followers))
        for number in range(1, UNDOS + 1):
            said_last = (await context.say(*"abc"[: number % 3 + 1]))["last_seq"]
            answer = await context.undo({"from_seq": max(1, said_last - number % 5)})
            assert answer.json()["undone"] > 0
        async with asyncio.timeout(60):
            await following
        late = EventsFollower(node.url, "undone", seed=1)
        await late.run(2 * UNDOS)
        page = (await context.read("tail", limit=1000)).json()["messages"]

    for follower in (*followers, late):
        assert follower.surprises == []
        assert follower.seqs == list(range(1, said_last + 1))
        assert follower.standing == {message["seq"] for message in page}


async def test_followers_come_over_a_restart_of_the_node(node: LiveNode) -> None:
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
        context = Context(client, "restarted")
        await context.put()
        followers = [
            WebsocketFollower(node.url, "restarted", seed=1),
            EventsFollower(node.url, "restarted", seed=2),
        ]
        following = asyncio.gather(*(one.run(40) for one in followers))
        for number in range(20):
            await context.say(str(number))
        await asyncio.to_thread(node.end)
        await asyncio.to_thread(node.begin)
        for number in range(20, 40):
            await context.say(str(number))
        async with asyncio.timeout(60):
            await following
    for follower in followers:
        assert follower.surprises == []
        assert follower.seqs == list(range(1, 41))
        assert follower.connections > 1

"""Another number of partitions: the log is told again to a new one, and nobody can tell by a
conversation."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct

from streams.log_writer import partition_of
from tests.support.commands import rewindow
from tests.support.contexts import Context, said
from tests.support.doors import replayed
from tests.support.live_node import LiveNode, own_database
from tests.support.servers import running
from tests.support.wait import until_async

BEFORE, AFTER = 2, 5
CONTEXTS = [f"context {number}" for number in range(10)]
TAIL_KEEP = "2"
CLOSED = CONTEXTS[2]
LAST = {"message": said("the last")}
KEYED = {"Idempotency-Key": "the last"}


class Seen(Struct):
    """Everything that a client sees of a context; messages to the letter."""

    context: Any
    window: Any
    messages: list[bytes]


class Old(Struct):
    """A deployment that was stopped: what it showed, and what it answered under a key."""

    node: LiveNode
    postgres: str
    seen: dict[str, Seen]
    answers: dict[str, Any]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str) -> Iterator[Old]:
    """Two partitions; settings, keys, compactions, metadata and a context that is closed; most of
    the messages are in the archive alone."""
    with own_database(postgres_url) as postgres:
        told = {"partitions": str(BEFORE), "tail_keep": TAIL_KEEP}
        node = LiveNode(tmp_path_factory.mktemp("old"), kafka, postgres, **told)
        with running(node):
            seen, answers = asyncio.run(lived(node))
        yield Old(node, postgres, seen, answers)


async def lived(node: LiveNode) -> tuple[dict[str, Seen], dict[str, Any]]:
    async with client_of(node) as client:
        answers = {}
        for number, name in enumerate(CONTEXTS):
            context = Context(client, name)
            await context.put({"token_budget": 100, "metadata": {"n": number, "who": "ü"}})
            for text in range(8 + number):
                await context.say(f"message {text} of {name}")
            await context.patch({"metadata": {"n": None, "seen": True}})
        summary = {"replacement": [said("a summary", role="system")]}
        await Context(client, CONTEXTS[1]).compact(summary)
        await Context(client, CONTEXTS[1]).say("after the summary")
        for name in CONTEXTS:
            answers[name] = (await Context(client, name).post(LAST, headers=KEYED)).json()
        await Context(client, CLOSED).delete()
        await until_async(lambda: is_archived(client), "everything is archived")
        return {name: await seen(client, name) for name in CONTEXTS}, answers


@asynccontextmanager
async def client_of(node: LiveNode) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
        yield client


async def is_archived(client: httpx.AsyncClient) -> bool:
    contexts = (await client.get("/v1/contexts")).json()["contexts"]
    return len(contexts) == len(CONTEXTS) and all(
        one["archived_seq"] == one["last_seq"] for one in contexts
    )


async def seen(client: httpx.AsyncClient, name: str) -> Seen:
    context = Context(client, name)
    return Seen(await context.get(), await context.window(), await replayed(client, name))


def replays(old: Old, *argv: str) -> list[dict[str, Any]]:
    done = rewindow("replay", *argv, "--json", **old.node.environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(params=["the same database", "a new database"])
def new(
    request: pytest.FixtureRequest, old: Old, tmp_path: Path, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    """A node on the new log."""
    prefix = f"{old.node.told['prefix']}-{request.param.split()[1]}"
    argv = ("--to-topic", f"{prefix}.log", "--partitions", str(AFTER))
    dry = replays(old, *argv, "--dry-run")
    assert replays(old, *argv) == dry
    assert sum(one["contexts"] for one in dry) == len(CONTEXTS)
    assert [one["strays"] + one["unreadable"] for one in dry] == [0] * BEFORE

    def node(postgres: str) -> LiveNode:
        told = {"prefix": prefix, "partitions": str(AFTER), "tail_keep": TAIL_KEEP}
        return LiveNode(tmp_path, kafka, postgres, **told)

    if request.param == "the same database":
        with running(node(old.postgres)) as new:
            yield new
    else:
        with own_database(postgres_url) as postgres, running(node(postgres)) as new:
            yield new


async def test_nobody_can_tell_by_a_conversation(old: Old, new: LiveNode) -> None:
    moved = [c for c in CONTEXTS if partition_of(c, BEFORE) != partition_of(c, AFTER)]
    assert moved
    async with client_of(new) as client:
        await until_async(lambda: has_all(client), "the archive has all of it")
        for name in CONTEXTS:
            assert await seen(client, name) == old.seen[name]
        notes = (await client.get("/health/ready")).json().get("notes", [])
        assert notes == []
        for name in CONTEXTS:
            again = await Context(client, name).post(LAST, headers=KEYED)
            assert again.headers["Idempotent-Replayed"] == "true"
            assert again.json() == old.answers[name]
            if name != CLOSED:
                newest = await Context(client, name).say("and on")
                assert newest["last_seq"] == old.seen[name].context["last_seq"] + 1
    verified = rewindow("verify", **new.environment)
    assert verified.returncode == 0, verified.stderr


async def has_all(client: httpx.AsyncClient) -> bool:
    """A message that is not hot is there once the archive has read the facts so far."""
    for name in CONTEXTS:
        answer = await Context(client, name).read("messages", from_seq=1, limit=1000)
        if answer.status_code != 200:
            return False
    return True

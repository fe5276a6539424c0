"""A node that ends in the middle of its work, by force or on request, and what it had promised."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from signal import SIGKILL, SIGTERM, Signals

import httpx
import psycopg
import pytest

from tests.support.commands import rewindow
from tests.support.contexts import texts
from tests.support.doors import replayed
from tests.support.live_node import LiveNode, live_node
from tests.support.wait import until
from tests.support.writers import Promise, Writers

PROMISES_BETWEEN = 200
WRITERS_PER_CONTEXT = 4


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("crash"), kafka, postgres_url) as node:
        yield node


async def written_while_it_ends(
    node: LiveNode, contexts: list[str], by: Signals, status: int, ends: int
) -> list[Promise]:
    """What was acknowledged before, between and after the ends."""
    writers = Writers(node.url, contexts, per_context=WRITERS_PER_CONTEXT)
    writing = asyncio.create_task(writers.run())
    for end in range(1, ends + 2):
        await writers.reach(PROMISES_BETWEEN * end)
        if end <= ends:
            assert await asyncio.to_thread(node.end, by) == status, node.said()
            await asyncio.to_thread(node.begin)
    writers.finish()
    await writing
    assert writers.surprises == []
    assert writers.retries > 0, "it did end in the middle of their work"
    return writers.promises


async def read(node: LiveNode, contexts: list[str]) -> dict[str, list[bytes]]:
    async with httpx.AsyncClient(base_url=node.url, timeout=30) as client:
        return {context: await replayed(client, context) for context in contexts}


def in_postgres(node: LiveNode, context: str) -> list[bytes]:
    with psycopg.connect(node.told["postgres"]) as connection:
        query = "select body::text from messages where context_id = %s order by seq"
        return [body.encode() for (body,) in connection.execute(query, (context,))]


@pytest.mark.parametrize(("by", "status", "ends"), [(SIGKILL, -SIGKILL, 2), (SIGTERM, 0, 1)])
def test_every_promise_is_kept(node: LiveNode, by: Signals, status: int, ends: int) -> None:
    contexts = [f"{by.name} {name}" for name in ("one", "two", "three ü")]
    promises = asyncio.run(written_while_it_ends(node, contexts, by, status, ends))
    promised: defaultdict[str, list[Promise]] = defaultdict(list)
    for promise in sorted(promises, key=lambda promise: promise.seq):
        promised[promise.context].append(promise)

    for context, bodies in asyncio.run(read(node, contexts)).items():
        messages = [json.loads(body) for body in bodies]
        found = [
            Promise(context, text, message["seq"], message["version"])
            for text, message in zip(texts(messages), messages, strict=True)
        ]
        assert found == promised[context], "each once, where it was promised, and nothing else"
        assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
        until(lambda c=context, b=bodies: in_postgres(node, c) == b, "archived, to the letter")

    verified = rewindow("verify", **node.environment)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count("as the log says") == 2 * node.settings.partitions

"""Real conversations through both doors, read back hot and archived: the same to the letter."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
import psycopg
import pytest
from confluent_kafka import Producer
from msgspec import Raw, Struct

from schemas.topics import PARTITIONER
from tests.support.contexts import Context
from tests.support.doors import (
    DOORS,
    Conversation,
    conversation,
    post_all,
    produce_all,
    replayed,
    tailed,
    windowed,
)
from tests.support.live_node import LiveNode, live_node
from tests.support.transcripts import NASTY, OPENAI, PLAY, conversations, to_chat, to_message
from tests.support.wait import until, until_async

T = TypeVar("T")

MESSAGES = {OPENAI: 2_618, PLAY: 1_550, NASTY: 1_030}
TAIL_KEEP = 7
AT_ONCE = 8


class Sent(Struct, frozen=True):
    """As it was sent, and as it was read while all of it was hot, by context."""

    node: LiveNode
    said: dict[str, Conversation]
    hot: dict[str, list[bytes]]


class Read(Struct):
    """A message as a reader gets it; `parts` and `metadata` to the letter."""

    seq: int
    version: int
    token_count: int
    inserted_at: str
    role: str
    parts: Raw
    metadata: Raw


class Written(Struct):
    """A message as it was sent."""

    role: str
    parts: Raw
    metadata: Raw = Raw(b"{}")


@pytest.fixture(scope="module")
def sent(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str, data_dir: Path
) -> Iterator[Sent]:
    folder = tmp_path_factory.mktemp("transcripts")
    with live_node(folder, kafka, postgres_url, tail_keep=str(TAIL_KEEP)) as node:
        said = {one.context: one for one in all_said(data_dir)}
        asyncio.run(send(node, said.values()))
        hot = asyncio.run(on(node, said, replayed))
        yield Sent(node, said, hot)


def all_said(data_dir: Path) -> Iterator[Conversation]:
    """Each goes through HTTP and another door, the one that is hard on encodings through all."""
    for name, expected in MESSAGES.items():
        found = 0
        for number, (title, chat) in enumerate(conversations(data_dir / name)):
            messages = [to_message(one) for one in chat]
            assert [to_chat(one) for one in messages] == chat, "nothing is lost on the way here"
            found += len(messages)
            for door in DOORS if name == NASTY else ("http", DOORS[1 + number % 2]):
                yield conversation(f"{title} by {door}", door, messages)
        assert found == expected


async def send(node: LiveNode, said: Iterable[Conversation]) -> None:
    """HTTP and the log at the same time."""
    producer = Producer({**node.settings.librdkafka(), "partitioner": PARTITIONER, "linger.ms": 5})
    for one in said:
        if one.door != "http":
            produce_all(producer, node.settings.topics.log, one)
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
        by_http = {one.context: one for one in said if one.door == "http"}
        await a_few_at_once(by_http, lambda context: post_all(client, by_http[context]))
        assert await asyncio.to_thread(producer.flush, 60) == 0
        for one in said:
            context, last = Context(client, one.context), len(one.messages)

            async def folded(context: Context = context, last: int = last) -> bool:
                return (await context.get())["last_seq"] == last

            await until_async(folded, f"{one.context} is folded")


async def on(
    node: LiveNode,
    contexts: Iterable[str],
    do: Callable[[httpx.AsyncClient, str], Awaitable[T]],
) -> dict[str, T]:
    """Do it with every context."""
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
        return await a_few_at_once(contexts, lambda context: do(client, context))


async def a_few_at_once(contexts: Iterable[str], do: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(context: str) -> tuple[str, T]:
        async with room:
            return context, await do(context)

    return dict(await asyncio.gather(*map(one, contexts)))


def in_postgres(node: LiveNode) -> dict[str, list[bytes]]:
    """What SQL gives for each context."""
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    with psycopg.connect(node.told["postgres"]) as connection:
        query = "select context_id, seq, body::text from messages order by context_id, seq"
        for context, seq, body in connection.execute(query):
            found[context].append(body.encode())
            assert len(found[context]) == seq
    return dict(found)


def test_what_is_read_is_what_was_sent_to_the_letter(sent: Sent) -> None:
    for context, messages in sent.hot.items():
        said = sent.said[context]
        for number, (body, written) in enumerate(zip(messages, said.messages, strict=True)):
            read = msgspec.json.decode(body, type=Read)
            meant = msgspec.json.decode(written, type=Written)
            assert read.seq == number + 1
            assert (read.role, bytes(read.parts)) == (meant.role, bytes(meant.parts)), context
            assert bytes(read.metadata) == bytes(meant.metadata), context


def test_every_append_is_a_version(sent: Sent) -> None:
    for context, messages in sent.hot.items():
        versions = [msgspec.json.decode(body, type=Read).version for body in messages]
        batches = [len(batch) for _, batch in sent.said[context].batches()]
        assert versions == [version for version, size in enumerate(batches, 1) for _ in range(size)]


def test_both_doors_give_the_same_messages_and_counts(sent: Sent) -> None:
    by_title: defaultdict[str, list[list[object]]] = defaultdict(list)
    for context, messages in sent.hot.items():
        read = [json.loads(body) for body in messages]
        what = ("seq", "role", "parts", "metadata", "token_count")
        by_title[context.partition(" by ")[0]].append([[m[name] for name in what] for m in read])
    for first, *others in by_title.values():
        assert others, "each went through two doors at least"
        assert all(other == first for other in others)


def test_tail_and_window_give_the_same_bytes(sent: Sent) -> None:
    assert asyncio.run(on(sent.node, sent.said, tailed)) == sent.hot
    windows = asyncio.run(on(sent.node, sent.said, windowed))
    assert windows == sent.hot, "these windows hold everything"


def test_postgres_holds_the_same_bytes(sent: Sent) -> None:
    assert until(lambda: (found := in_postgres(sent.node)) == sent.hot and found)


def test_analysts_see_the_same_parts(sent: Sent) -> None:
    query = "select context_id, seq, parts from messages_for_analysis where parts is not null"
    with psycopg.connect(sent.node.told["postgres"]) as connection:
        seen = connection.execute(query).fetchall()
    assert len(seen) == sum(map(len, sent.hot.values()))
    for context, seq, parts in seen:
        assert parts == json.loads(sent.hot[context][seq - 1])["parts"]


def test_messages_that_are_no_longer_hot_come_back_as_the_same_bytes(sent: Sent) -> None:
    """The windows are emptied, and one more message each lets the watermark pass."""

    async def leave_the_window(client: httpx.AsyncClient, name: str) -> None:
        context = Context(client, name)
        assert (await context.compact({"replacement": []})).status_code == 200
        await context.say("goodbye")

    asyncio.run(on(sent.node, sent.said, leave_the_window))
    # Each message that is kept has a row and an answer's row.
    most = 2 * TAIL_KEEP * len(sent.said)
    until(lambda: sum(digest.rows for digest in sent.node.digests()) <= most, "all is trimmed")
    for read in (replayed, tailed):
        found = asyncio.run(on(sent.node, sent.said, read))
        assert {context: messages[:-1] for context, messages in found.items()} == sent.hot
        assert all(b'"goodbye"' in messages[-1] for messages in found.values())

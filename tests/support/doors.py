"""A whole conversation through one of the two doors, HTTP or the log, and all of it back."""

import json
from collections.abc import Iterator
from itertools import cycle, repeat
from typing import Any, Literal

import httpx
import msgspec
from confluent_kafka import Producer
from msgspec import Raw, Struct

from schemas.codec import encode_event
from schemas.events import LogEvent, Message, MessageAppended
from tests.support.contexts import Context

Json = dict[str, Any]
Door = Literal["http", "log", "hand"]

DOORS: tuple[Door, ...] = ("http", "log", "hand")
SIZES = (1, 1, 1, 60)
"""Messages that are sent at once, in turn; by hand they are sent one by one."""
PAGE = 1000
EVERYTHING = {"token_budget": 100_000_000, "policy": {"strategy": "manual"}}
"""Settings of a context whose window holds all that was said."""


class Conversation(Struct):
    """What goes into a context through a door; `messages` as JSON, in the sender's own writing."""

    context: str
    door: Door
    messages: list[bytes]

    def batches(self) -> Iterator[tuple[int, list[bytes]]]:
        """What is sent at once, and how many messages come before it."""
        first = 0
        for size in repeat(1) if self.door == "hand" else cycle(SIZES):
            if first >= len(self.messages):
                return
            yield first, self.messages[first : first + size]
            first += size


def conversation(context: str, door: Door, messages: list[Json]) -> Conversation:
    """By hand means as Python's `json` writes it, letters as escapes."""
    if door == "hand":
        written = [json.dumps(message, separators=(",", ":")).encode() for message in messages]
    else:
        written = [msgspec.json.encode(message) for message in messages]
    return Conversation(context, door, written)


# -- in ----------------------------------------------------------------------------------------


async def post_all(client: httpx.AsyncClient, said: Conversation) -> None:
    """Through HTTP, in the order of the conversation."""
    context = Context(client, said.context)
    assert (await context.put(EVERYTHING)).status_code == 201
    for first, batch in said.batches():
        if len(batch) == 1:
            body, field = b'{"message":%b}' % batch[0], "seq"
        else:
            body, field = b'{"messages":[%b]}' % b",".join(batch), "last_seq"
        answer = await client.post(f"{context.path}/messages", content=body)
        assert answer.status_code == 201, answer.text
        assert answer.json()[field] == first + len(batch)


def produce_all(producer: Producer, topic: str, said: Conversation) -> None:
    """Straight to the log, with our codec or by hand. Returns before the broker has it all."""
    key = said.context.encode()
    settings = _by_hand(said.context, "settings", "context.configured.v1", json.dumps(EVERYTHING))
    producer.produce(topic, settings, key)
    for first, batch in said.batches():
        if said.door == "hand":
            data = f'{{"messages": [{batch[0].decode()}]}}'
            event = _by_hand(said.context, f"message {first}", "message.appended.v1", data)
        else:
            messages = tuple(msgspec.json.decode(one, type=Message) for one in batch)
            appended = MessageAppended(messages)
            event = encode_event(LogEvent(f"from {first}", said.context, "/tests", appended))
        producer.produce(topic, event, key)
        producer.poll(0)


def _by_hand(context: str, name: str, kind: str, data: str) -> bytes:
    """A CloudEvent as somebody writes it who has read the docs and nothing else."""
    return (
        f'{{"specversion": "1.0", "id": {json.dumps(name)}, "source": "/by/hand", '
        f'"type": "{kind}", "subject": {json.dumps(context)}, '
        f'"time": "2026-11-26T10:00:00Z", "datacontenttype": "application/json", "data": {data}}}'
    ).encode()


# -- out ---------------------------------------------------------------------------------------


class _Page(Struct):
    messages: list[Raw]
    next_seq: int | None = None


async def replayed(client: httpx.AsyncClient, context: str) -> list[bytes]:
    """Every message's JSON, by GET messages, forwards."""
    found: list[bytes] = []
    next_seq: int | None = 1
    while next_seq is not None:
        page = await _page(client, context, "messages", from_seq=next_seq)
        found += map(bytes, page.messages)
        next_seq = page.next_seq
    return found


async def tailed(client: httpx.AsyncClient, context: str) -> list[bytes]:
    """Every message's JSON, by GET tail, backwards until the beginning is passed."""
    found: list[bytes] = []
    while (page := await _page(client, context, "tail", offset=len(found))).messages:
        found = [*map(bytes, page.messages), *found]
    return found


async def windowed(client: httpx.AsyncClient, context: str) -> list[bytes]:
    """Every message's JSON, by GET context."""
    answer = await Context(client, context).read("context")
    return [bytes(message) for message in _read(answer).messages]


async def _page(client: httpx.AsyncClient, context: str, noun: str, **query: int) -> _Page:
    return _read(await Context(client, context).read(noun, limit=PAGE, **query))


def _read(answer: httpx.Response) -> _Page:
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=_Page)

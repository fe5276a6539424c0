"""Writers of several manners, who do not give up, whatever happens to nodes and brokers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from random import Random
from typing import Any, Final, Literal

import httpx
import msgspec
from confluent_kafka import Producer
from msgspec import Struct

from schemas.codec import encode_event
from schemas.events import LogEvent, Message, MessageAppended
from tests.chaos.told import Told
from tests.support.contexts import Context, Json, said
from tests.support.writers import RETRIED

Manner = Literal["one", "several", "certain", "rivals", "log"]
"""One message at a time; several; one at a version that nobody else can have moved, or that a rival
may have moved; straight to the log."""

MANNERS: Final[tuple[Manner, ...]] = ("one", "several", "certain", "rivals", "log")
SEVERAL: Final = (2, 5)
PAUSE_S: Final = (0.5, 3.5)
"""Between two appends of a writer: the load is to leave the machine some room."""
RETRY_S: Final = (0.1, 0.4)
ANSWER_S: Final = 20.0

EVERYTHING: Final[Json] = {"token_budget": 100_000_000, "policy": {"strategy": "manual"}}
LITTLE: Final[Json] = {"policy": {"strategy": "last_n", "config": {"limit": 5}}}


class Talk(Struct, frozen=True):
    """One context, and how it is written to. `trimmed`: what is old and archived does not stay hot,
    and nobody may come back with a key as old as that."""

    context_id: str
    manner: Manner
    trimmed: bool

    @property
    def settings(self) -> Json:
        """Of the context."""
        return LITTLE if self.trimmed else EVERYTHING

    @property
    def writers(self) -> int:
        """One, where another one's messages could push out what is still asked for."""
        return 1 if self.trimmed or self.manner in ("certain", "log") else 2


def talks(contexts: int) -> list[Talk]:
    """As many of each manner."""
    return [_talk(number, MANNERS[number % len(MANNERS)]) for number in range(contexts)]


def _talk(number: int, manner: Manner) -> Talk:
    trimmed = number % 2 == 1 and manner in ("one", "certain")
    return Talk(f"context {number}", manner, trimmed)


class Writer:
    """Appends one thing after the other, under keys of its own, until it has `finished`; what was
    begun is seen through."""

    def __init__(self, talk: Talk, name: str, told: Told, finished: Callable[[], bool]) -> None:
        self._talk = talk
        self._name = name
        self._told = told
        self._finished = finished
        self._draw = Random(f"{talk.context_id} {name}")

    async def run(self) -> None:
        """One append after the other."""
        for number in count():
            await asyncio.sleep(self._draw.uniform(*PAUSE_S))
            if self._finished():
                return
            await self._append(f"{self._name}: {number}")

    async def _append(self, text: str) -> None:
        """Until it is acknowledged, or refused for good."""
        raise NotImplementedError

    async def _retry(self, why: str) -> None:
        self._told.retries[why] += 1
        await asyncio.sleep(self._draw.uniform(*RETRY_S))


class HttpWriter(Writer):
    """Begins at one of the nodes, and goes on to the next one where a line breaks. Its lines are
    its own: to choose among those of everybody would cost more than everything else."""

    def __init__(self, *given: Any, urls: Sequence[str], first: int) -> None:
        super().__init__(*given)
        self._urls = urls
        self._nodes: list[httpx.AsyncClient] = []
        self._at = first
        self._version = 0

    async def run(self) -> None:
        """Make the context, then one append after the other."""
        async with clients(self._urls) as self._nodes:
            answer = await self._answer(lambda context: context.put(self._talk.settings))
            if answer.status_code not in (200, 201):
                self._told.surprises.append(answer.text)
            await super().run()

    async def _append(self, text: str) -> None:
        texts = [text]
        if self._talk.manner == "several":
            texts = [f"{text}.{part}" for part in range(self._draw.randint(*SEVERAL))]
        body = self._body(texts)
        answer = await self._answer(
            lambda context: context.post(body, headers={"Idempotency-Key": text})
        )
        found = answer.json()
        if answer.status_code == 201:
            first = found.get("first_seq", found.get("seq"))
            self._told.promised(self._talk.context_id, texts, first, found["version"])
        elif answer.status_code == 409 and self._talk.manner == "rivals":
            self._told.refused += 1
        else:
            self._told.surprises.append(f"{self._talk}: {body}: {answer.text}")
        self._version = found.get("version", self._version)

    def _body(self, texts: Sequence[str]) -> Json:
        messages = list(map(said, texts))
        body: Json = {"message": messages[0]} if len(texts) == 1 else {"messages": messages}
        if self._talk.manner in ("certain", "rivals"):
            body["if_version"] = self._version
        return body

    async def _answer(self, ask: Callable[[Context], Awaitable[httpx.Response]]) -> httpx.Response:
        """The first answer that asks for no retry."""
        while True:
            node = self._nodes[self._at % len(self._nodes)]
            try:
                answer = await ask(Context(node, self._talk.context_id))
            except httpx.TransportError as exc:
                why = type(exc).__name__
                self._at += 1
            else:
                if answer.status_code not in RETRIED:
                    return answer
                why = str(answer.status_code)
            await self._retry(why)


@asynccontextmanager
async def clients(urls: Sequence[str]) -> AsyncIterator[list[httpx.AsyncClient]]:
    """One for each node."""
    async with AsyncExitStack() as stack:
        # Certificates that nobody asks for take long to load.
        made = [httpx.AsyncClient(base_url=url, timeout=ANSWER_S, verify=False) for url in urls]
        yield [await stack.enter_async_context(one) for one in made]


class LogWriter(Writer):
    """Produces to the log, as any Kafka client may."""

    def __init__(self, *given: Any, producer: Producer, topic: str) -> None:
        super().__init__(*given)
        self._producer = producer
        self._topic = topic

    async def _append(self, text: str) -> None:
        message = Message("user", msgspec.Raw(msgspec.json.encode(said(text)["parts"])))
        event = LogEvent(text, self._talk.context_id, "/chaos", MessageAppended((message,)))
        while not await self._delivered(encode_event(event)):
            await self._retry("not delivered")
        self._told.taken(self._talk.context_id, text)

    async def _delivered(self, record: bytes) -> bool:
        """Whether Kafka has it for certain; it may have it too where this is not so."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def reported(error: object, _record: object) -> None:
            if not future.done():
                future.set_result(error is None)

        key = self._talk.context_id.encode()
        self._producer.produce(self._topic, record, key, on_delivery=reported)
        return await future

"""More requests than a node takes at a time: the rest is told at once to come back."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from api.admission import LARGE_BYTES, LARGE_MAX
from api.app import make_api
from schemas.events import LogEvent
from streams import encodings
from streams.store import Answered
from tests.support.asgi import Answer, send
from tests.support.contexts import Context, is_problem, said
from tests.support.memory_store import MemoryStore
from tests.support.wait import until_async

TAKEN = 2


class SlowStore(MemoryStore):
    """Takes a write only when it `may`. `asked`: how many wait."""

    def __init__(self) -> None:
        super().__init__(encodings.measure)
        self.may = asyncio.Event()
        self.may.set()
        self.asked = 0

    async def ask(self, event: LogEvent) -> Answered:
        self.asked += 1
        await self.may.wait()
        self.asked -= 1
        return await super().ask(event)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
async def client(store: SlowStore) -> AsyncIterator[httpx.AsyncClient]:
    api = make_api(store, encodings.measure, requests_max=TAKEN)
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://memory") as client:
        yield client


async def test_what_is_too_much_is_refused_at_once_and_taken_later(
    client: httpx.AsyncClient, store: SlowStore
) -> None:
    context = Context(client, "c")
    await context.put()
    store.may.clear()
    taken = [asyncio.create_task(context.post({"message": said("in")})) for _ in range(TAKEN)]

    async def busy() -> bool:
        return store.asked == TAKEN

    await until_async(busy, "all places are taken")
    key = {"Idempotency-Key": "mine"}
    refused = await context.post({"message": said("one too many")}, headers=key)
    body = is_problem(refused, 503, "unavailable")
    assert "2 such requests at work" in body["message"]
    assert refused.headers["Retry-After"] == str(body["retry_after"])
    assert refused.headers["Idempotency-Key"] == "mine"
    assert refused.headers["X-Request-Id"]
    # Reads go on, and whoever looks after the node still sees it.
    assert (await client.get(context.path)).status_code == 200
    assert (await client.get("/health/ready")).status_code == 200
    measured = (await client.get("/metrics")).text
    assert 'rewindow_refused_total{reason="unavailable"} 1.0' in measured

    store.may.set()
    assert [(await one).status_code for one in taken] == [201] * TAKEN
    assert (await context.post({"message": said("again")}, headers=key)).status_code == 201


async def test_whoever_waits_gets_the_place_that_is_free_next(
    client: httpx.AsyncClient, store: SlowStore
) -> None:
    context = Context(client, "c")
    await context.put()
    store.may.clear()
    asked = [asyncio.create_task(context.post({"message": said("in")})) for _ in range(2 * TAKEN)]

    async def busy() -> bool:
        return store.asked == TAKEN

    await until_async(busy, "all places are taken")
    store.may.set()
    assert [(await one).status_code for one in asked] == [201] * 2 * TAKEN


@pytest.mark.parametrize(
    "large", [(b"content-length", b"%d" % (LARGE_BYTES + 1)), (b"transfer-encoding", b"chunked")]
)
async def test_of_large_bodies_fewer_are_taken(
    store: SlowStore, large: tuple[bytes, bytes]
) -> None:
    app = make_api(store, encodings.measure, requests_max=10 * LARGE_MAX)
    body = json.dumps({"message": said("in")}).encode()
    small = (b"content-length", b"%d" % len(body))

    def post(*headers: tuple[bytes, bytes]) -> asyncio.Task[Answer]:
        path = b"/v1/contexts/c/messages"
        return asyncio.create_task(send(app, "POST", path, headers=headers, chunks=[body]))

    await send(app, "PUT", b"/v1/contexts/c", chunks=[b"{}"])
    store.may.clear()
    taken = [post(large) for _ in range(LARGE_MAX)]

    async def busy() -> bool:
        return store.asked == LARGE_MAX

    await until_async(busy, "all places for large bodies are taken")
    assert (await post(large)).status == 503
    beside = post(small)
    store.may.set()
    assert [(await one).status for one in (*taken, beside)] == [201] * (LARGE_MAX + 1)


async def test_live_streams_take_no_place(client: httpx.AsyncClient) -> None:
    context = Context(client, "c")
    await context.put()
    following = [asyncio.create_task(client.get(f"{context.path}/events")) for _ in range(TAKEN)]

    async def followed() -> bool:
        return f"rewindow_stream_connections {TAKEN}.0" in (await client.get("/metrics")).text

    try:
        await until_async(followed, "all follow")
        await context.say("still taken")
    finally:
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)

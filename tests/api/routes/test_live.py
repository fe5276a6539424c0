"""Live streams as they go over the wire: a real HTTP server and real clients, over memory."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.access import AccessRules
from api.app import make_api
from api.live import LiveRules
from rewindow.embedded.ports import free_port
from streams import encodings
from tests.support.contexts import Context
from tests.support.memory_store import MemoryStore, broker_gone
from tests.support.wait import until_async

Json = dict[str, Any]


class Served:
    """An API over memory, behind a real server."""

    def __init__(self, store: MemoryStore, port: int) -> None:
        self.store = store
        self.http = f"http://127.0.0.1:{port}"
        self.client = httpx.AsyncClient(base_url=self.http, timeout=30)

    def context(self, name: str = "c") -> Context:
        return Context(self.client, name)

    def stream(self, name: str = "c", query: str = "", **options: Any) -> connect:
        path = f"/v1/contexts/{quote(name, safe='')}/stream{query}"
        return connect(self.http.replace("http", "ws") + path, proxy=None, **options)

    @asynccontextmanager
    async def events(
        self, name: str = "c", query: str = "", **headers: str
    ) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an event stream."""
        path = f"/v1/contexts/{quote(name, safe='')}/events{query}"
        async with self.client.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield answer.aiter_lines()


Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def begin(**rules: Any) -> Served:
            store = MemoryStore(encodings.measure)
            served = Served(store, port := free_port())
            app = make_api(store, encodings.measure, **rules)
            config = uvicorn.Config(
                app, port=port, log_level="error", lifespan="off", ws="websockets-sansio"
            )
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve())
            await until_async(lambda: asyncio.sleep(0, server.started), "the server listens")

            async def end() -> None:
                store.live.end_all_but((), "the test is over")
                server.should_exit = True
                await task
                await served.client.aclose()

            stack.push_async_callback(end)
            return served

        yield begin


async def frames(socket: ClientConnection, count: int) -> list[Json]:
    async with asyncio.timeout(30):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def closing(socket: ClientConnection) -> tuple[int, str]:
    """The close code and reason, whatever came before."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def events(lines: AsyncIterator[str], count: int) -> list[tuple[str | None, Json]]:
    """The next events: id and data."""
    found: list[tuple[str | None, Json]] = []
    name: str | None = None
    async with asyncio.timeout(30):
        async for line in lines:
            if line.startswith("id: "):
                name = line[4:]
            elif line.startswith("data: "):
                found.append((name, json.loads(line[6:])))
                name = None
            if len(found) == count:
                break
    return found


async def test_without_a_cursor_it_is_live_from_now(serve: Serve) -> None:
    served = await serve()
    context = served.context()
    await context.put()
    await context.say("before")
    async with served.stream() as socket:
        await until_async(lambda: followed(served), "it follows")
        await context.say("hello")
        said, state = await frames(socket, 2)
    tail = (await context.read("tail", limit=1)).json()["messages"][0]
    assert said == {"type": "message", "version": 2, "seq": 2, "message": tail}
    used = (await context.window())["used_tokens"]
    assert state == {
        "type": "context",
        "version": 2,
        "used_tokens": used,
        "needs_compaction": False,
    }


async def followed(served: Served) -> bool:
    return bool(served.store.live._followers)


async def test_everything_since_the_beginning_then_live_without_a_seam(serve: Serve) -> None:
    served = await serve()
    context = served.context()
    await context.put()
    for number in range(250):
        await context.say(str(number), tokens=1)
    async with served.stream(query="?cursor=0") as socket:
        saying = asyncio.create_task(say_all(context, range(250, 400)))
        seqs: list[int] = []
        while len(seqs) < 400:
            (frame,) = await frames(socket, 1)
            if frame["type"] == "message":
                assert frame["message"]["parts"][0]["text"] == str(frame["seq"] - 1)
                seqs.append(frame["seq"])
        await saying
    assert seqs == list(range(1, 401))


async def say_all(context: Context, numbers: range) -> None:
    for number in numbers:
        await context.say(str(number), tokens=1)


async def test_a_cursor_goes_on_behind_its_version(serve: Serve) -> None:
    served = await serve()
    context = served.context()
    await context.put()
    await context.say("one")
    await context.say("two", "three")
    await context.say("four")
    async with served.stream(query="?cursor=1") as socket:
        told = await frames(socket, 4)
    assert [(f["type"], f["version"], f.get("seq")) for f in told] == [
        ("message", 2, 2),
        ("message", 2, 3),
        ("message", 3, 4),
        ("context", 3, None),
    ]


async def test_compactions_settings_and_the_end_are_told(serve: Serve) -> None:
    served = await serve()
    context = served.context()
    await context.put()
    await context.say("a", "b")
    async with served.stream(query="?cursor=1&include_messages=false") as socket:
        await until_async(lambda: followed(served), "it follows")
        await context.compact({"replacement": [{"role": "system", "parts": [{"type": "text"}]}]})
        await context.say("c")
        await context.patch({"metadata": {"a": 1}})
        await context.compact({"replacement": []})
        await context.delete()
        told = await frames(socket, 7)
        assert await closing(socket) == (1000, "the context is closed for good")
    kinds = [(f["type"], f["version"]) for f in told]
    assert kinds == [
        ("compaction", 2),
        ("context", 2),
        ("context", 3),
        ("context", 3),
        ("compaction", 4),
        ("context", 4),
        ("tombstoned", 4),
    ]
    assert told[0]["range"] == {"from_seq": 1, "to_seq": 2}
    assert told[4]["range"] == {"from_seq": 1, "to_seq": 3}


async def test_a_compaction_that_was_missed_is_told_in_its_place(serve: Serve) -> None:
    served = await serve()
    context = served.context()
    await context.put()
    await context.say("a")
    await context.compact({"replacement": [{"role": "system", "parts": [{"type": "text"}]}]})
    await context.say("b")
    async with served.stream(query="?cursor=0") as socket:
        told = await frames(socket, 4)
    assert [(f["type"], f["version"]) for f in told] == [
        ("message", 1),
        ("compaction", 2),
        ("message", 3),
        ("context", 3),
    ]


async def test_a_tombstoned_context_is_replayed_and_closed(serve: Serve) -> None:
    served = await serve()
    context = served.context()
    await context.put()
    await context.say("last words")
    await context.delete()
    async with served.stream(query="?cursor=0") as socket:
        told = await frames(socket, 3)
        assert (await closing(socket))[0] == 1000
    assert [f["type"] for f in told] == ["message", "context", "tombstoned"]


async def test_a_cursor_from_another_life_is_reset(serve: Serve) -> None:
    served = await serve()
    context = served.context()
    await context.put()
    await context.say("a")
    async with served.stream(query="?cursor=7") as socket:
        assert await frames(socket, 1) == [{"type": "reset", "version": 1}]
        await until_async(lambda: followed(served), "it follows")
        await context.say("b")
        assert [f["version"] for f in await frames(socket, 2)] == [2, 2]


async def test_events_have_the_version_as_id_once_it_is_whole(serve: Serve) -> None:
    served = await serve()
    context = served.context("ein Gespräch")
    await context.put()
    await context.say("one", "two")
    async with served.events("ein Gespräch", "?cursor=0") as lines:
        told = await events(lines, 3)
    assert [(name, f["type"]) for name, f in told] == [
        (None, "message"),
        ("1", "message"),
        ("1", "context"),
    ]
    await context.say("three")
    last_seen = {"Last-Event-ID": "1"}
    async with served.events("ein Gespräch", "?cursor=0", **last_seen) as lines:
        assert [f.get("seq") for _, f in await events(lines, 2)] == [3, None]


async def test_pings_come_at_regular_times_and_silence_closes(serve: Serve) -> None:
    served = await serve(live=LiveRules(ping_s=0.05, idle_s=0.4))
    await served.context().put()
    async with served.stream() as socket:
        assert await frames(socket, 1) == [{"type": "ping"}]
        code, reason = await closing(socket)
        assert code == 4408
        assert "0.4 s" in reason
    async with served.events() as lines:
        assert [f for _, f in await events(lines, 2)] == [{"type": "ping"}] * 2


async def test_a_pong_keeps_it_open(serve: Serve) -> None:
    served = await serve(live=LiveRules(ping_s=0.1, idle_s=0.5))
    await served.context().put()
    async with served.stream() as socket:
        for _ in range(12):
            assert await frames(socket, 1) == [{"type": "ping"}]
            await socket.send('{"type":"pong"}')


async def test_what_can_not_be_followed_is_said_when_it_closes(serve: Serve) -> None:
    served = await serve()
    await served.context().put()
    for name, query, code, word in (
        ("nobody", "", 4404, "nobody"),
        ("c", "?cursor=x", 4400, "cursor"),
        ("c", "?include_messages=maybe", 4400, "include_messages"),
        ("c", "?curser=1", 4400, "curser"),
    ):
        async with served.stream(name, query) as socket:
            closed = await closing(socket)
        assert closed[0] == code
        assert word in closed[1]
    for name, query, status in (
        ("nobody", "", 404),
        ("c", "?cursor=-1", 400),
        ("c", "?curser=1", 400),
    ):
        answer = await served.client.get(f"/v1/contexts/{name}/events{query}")
        assert answer.status_code == status
        assert answer.json()["message"]
    served.store.outage = broker_gone()
    async with served.stream() as socket:
        assert (await closing(socket))[0] == 1013


async def test_a_bad_last_event_id_is_named(serve: Serve) -> None:
    served = await serve()
    await served.context().put()
    for sent in ("x", "-1", "9" * 30):
        answer = await served.client.get("/v1/contexts/c/events", headers={"Last-Event-ID": sent})
        assert (answer.status_code, answer.json()["field"]) == (400, "Last-Event-ID")


async def test_no_more_connections_than_allowed(serve: Serve) -> None:
    served = await serve(live=LiveRules(connections_max=2))
    await served.context().put()
    async with served.stream(), served.events() as lines:
        async with served.stream() as third:
            code, reason = await closing(third)
        assert (code, "2 live streams" in reason) == (1013, True)
        answer = await served.client.get("/v1/contexts/c/events")
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
        del lines

    async def room() -> bool:
        async with served.stream() as again:
            await served.context().say("hello")
            try:
                return (await frames(again, 1))[0]["type"] == "message"
            except ConnectionClosed:
                return False

    assert await until_async(room, "what was closed makes room")


async def test_asking_for_the_head_only_takes_no_connection(serve: Serve) -> None:
    served = await serve(live=LiveRules(connections_max=1))
    await served.context().put()
    for _ in range(3):
        assert (await served.client.head("/v1/contexts/c/events")).status_code == 200
    async with served.events():
        pass


async def test_a_reader_that_takes_nothing_is_closed_with_a_reason(serve: Serve) -> None:
    served = await serve(live=LiveRules(take_s=0.2))
    context = served.context()
    await context.put()
    async with served.stream(max_queue=1, compression=None) as socket:
        await until_async(lambda: followed(served), "it follows")

        async def cut_off() -> bool:
            # It reads nothing: the buffers on the way fill up first.
            await context.say("x" * 500_000, tokens=1)
            return not await followed(served)

        await until_async(cut_off, "it is not waited for")
        code, reason = await closing(socket)
    assert code == 1008
    assert "cursor" in reason


async def test_events_that_nobody_takes_are_cut_off(serve: Serve) -> None:
    served = await serve(live=LiveRules(take_s=0.2))
    context = served.context()
    await context.put()
    async with served.events() as lines:
        await until_async(lambda: followed(served), "it follows")

        async def cut_off() -> bool:
            await context.say("x" * 500_000, tokens=1)
            return not await followed(served)

        await until_async(cut_off, "it is not waited for")
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in lines:
                pass


async def test_a_key_is_wanted_from_followers_too(serve: Serve) -> None:
    served = await serve(access=AccessRules(keys=("secret",)))
    key = {"Authorization": "Bearer secret"}
    await served.context().put(headers=key)
    with pytest.raises(InvalidStatus) as refused:
        async with served.stream():
            pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"] == "unauthorized"
    async with served.stream(additional_headers=key):
        pass
    assert (await served.client.get("/v1/contexts/c/events")).status_code == 401

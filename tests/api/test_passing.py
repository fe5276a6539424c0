"""Two nodes, each an API over memory behind a real server: who has a context answers for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from api.app import make_api
from api.neighbours import Neighbours
from rewindow.embedded.ports import free_port
from streams import encodings
from streams.store import Census, Moved
from tests.support.contexts import Context, is_problem, said
from tests.support.memory_store import MemoryStore
from tests.support.wait import PATIENCE_S, until_async


class OneOfTwo(MemoryStore):
    """A store that has some contexts, and knows where the others are. `moves`: raised once each, by
    whatever is asked next of a context here."""

    def __init__(self) -> None:
        super().__init__(encodings.measure)
        self.elsewhere: Callable[[str], str | None] = lambda _id: None
        self.others: tuple[str, ...] = ()
        self.number = 0
        self.moves: list[Moved] = []

    def owner(self, context_id: str) -> str | None:
        return self.elsewhere(context_id)

    def census(self) -> Census:
        return Census(2, frozenset({self.number}), self.others)

    def _check(self) -> None:
        super()._check()
        if self.moves:
            raise self.moves.pop()


class Node:
    """A server over a store, for as long as a test goes on or until `stop()`."""

    def __init__(self, port: int, **options: Any) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.store = OneOfTwo()
        self.client = httpx.AsyncClient(base_url=self.url, timeout=30)
        self.neighbours = Neighbours()
        self._options = options
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        app = make_api(self.store, encodings.measure, neighbours=self.neighbours, **self._options)
        config = uvicorn.Config(
            app, port=self.port, log_level="error", lifespan="off", ws="websockets-sansio"
        )
        server = self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(server.serve())
        await until_async(lambda: asyncio.sleep(0, server.started), "the server listens")

    async def stop(self) -> None:
        if self._server is not None and self._serving is not None:
            self.store.live.end_all_but((), "the node stops")
            self.neighbours.hang_up()
            self._server.should_exit = True
            await self._serving
            await self.neighbours.close()
            self._server = None

    def context(self, name: str) -> Context:
        return Context(self.client, name)


Pair = tuple[Node, Node]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Contexts whose names begin with `b` are at the second node, all others at the first."""
    async with AsyncExitStack() as stack:
        first, second = Node(free_port(), patience_s=3.0), Node(free_port(), patience_s=3.0)
        second.store.number = 1
        first.store.elsewhere = lambda name: second.url if name.startswith("b") else None
        second.store.elsewhere = lambda name: None if name.startswith("b") else first.url
        first.store.others, second.store.others = (second.url,), (first.url,)
        for node in (first, second):
            await node.start()
            stack.push_async_callback(node.client.aclose)
            stack.push_async_callback(node.stop)
        yield first, second


async def test_every_route_answers_at_every_node(pair: Pair) -> None:
    for name in ("a Gespräch %?#", "b Gespräch %?#"):
        for number, node in enumerate(pair):
            context = node.context(name)
            assert (await context.put()).status_code == (201 if number == 0 else 200)
            assert (await context.say("one", "two"))["last_seq"] == 2 * number + 2
            assert (await context.patch({"metadata": {"n": number}})).status_code == 200
        views = [
            [
                (await node.context(name).read(noun)).json()
                for noun in ("context?budget_tokens=20", "tail?limit=2", "messages?from_seq=-3")
            ]
            for node in pair
        ]
        assert views[0] == views[1]
        assert (await pair[0].context(name).compact({"replacement": []})).status_code == 200
        assert (await pair[1].context(name).delete()).status_code == 204
        is_problem(await pair[0].context(name).post({"message": said("x")}), 409, "tombstoned")
    assert len(pair[0].store._heads) == len(pair[1].store._heads) == 1


async def test_headers_go_both_ways_and_none_is_doubled(pair: Pair) -> None:
    first, second = pair
    await first.context("b").put()
    headers = {"Idempotency-Key": "k", "X-Request-Id": "r-1"}
    answers = [
        await first.context("b").post({"message": said("x")}, headers=headers) for _ in range(2)
    ]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    for answer in answers:
        assert answer.headers.get_list("Idempotency-Key") == ["k"]
        assert answer.headers.get_list("X-Request-Id") == ["r-1"]
        assert len(answer.headers.get_list("date")) == 1
    assert second.store.log[-1].trail.request_id == "r-1"


async def test_a_large_body_and_one_without_a_length_go_through(pair: Pair) -> None:
    first, _ = pair
    await first.context("b").put()
    message = said("x" * 900_000, tokens=1)
    body = json.dumps({"message": message}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 10_000):
            yield body[at : at + 10_000]

    answer = await first.client.post("/v1/contexts/b/messages", content=pieces())
    assert answer.status_code == 201, answer.text
    read = (await first.context("b").read("tail")).json()["messages"][0]
    assert read["parts"] == message["parts"]
    too_large = await first.client.post("/v1/contexts/b/messages", content=b"x" * (5 << 20))
    is_problem(too_large, 413, "too_large")


async def test_a_request_is_passed_on_once(pair: Pair) -> None:
    first, second = pair
    # Each takes the other for the owner: a stale idea of things.
    first.store.elsewhere = lambda _name: second.url
    second.store.elsewhere = lambda _name: first.url
    second.store.outage = Moved("it is not here; ask again")
    answer = await first.context("b").read("context")
    is_problem(answer, 503, "unavailable")
    assert "Retry-After" in answer.headers


async def test_a_stale_idea_heals_before_the_client_sees_it(pair: Pair) -> None:
    first, second = pair
    await second.context("b").put()
    second.store.moves = [Moved("it has just left") for _ in range(3)]
    answer = await first.context("b").post({"message": said("x")})
    assert (answer.status_code, answer.json()["seq"]) == (201, 1)
    assert second.store.moves == []
    # And here, where the context has not arrived yet.
    second.store.moves = [Moved("it is catching up") for _ in range(3)]
    answer = await second.context("b").post({"message": said("y")})
    assert (answer.status_code, answer.json()["seq"]) == (201, 2)


async def test_every_try_of_a_write_is_the_same_write(pair: Pair) -> None:
    first, second = pair
    await second.context("b").put()
    asked = second.store.ask

    async def written_then_gone(event: Any) -> Any:
        await asked(event)
        second.store.ask = asked  # type: ignore[method-assign]
        raise Moved("it is written, and its answer went with the node")

    second.store.ask = written_then_gone  # type: ignore[method-assign]
    answer = await first.context("b").post({"message": said("x")})
    assert answer.status_code == 201
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert (await first.context("b").get())["last_seq"] == 1


async def test_a_node_that_is_away_is_waited_for(pair: Pair) -> None:
    first, second = pair
    await second.context("b").put()
    await second.stop()
    asking = asyncio.create_task(first.context("b").post({"message": said("x")}))
    await asyncio.wait({asking}, timeout=0.3)
    assert not asking.done()
    await second.start()
    assert (await asking).status_code == 201


async def test_a_node_that_stays_away_is_said(pair: Pair) -> None:
    first, second = pair
    await second.stop()
    answer = await first.context("b").post({"message": said("x")})
    assert second.url in is_problem(answer, 503, "unavailable")["message"]
    assert "Retry-After" in answer.headers
    is_problem(await first.client.get("/v1/contexts"), 503, "unavailable")


async def test_a_context_that_changes_hands_while_its_old_owner_hangs(pair: Pair) -> None:
    first, second = pair
    stuck, released = asyncio.Event(), asyncio.Event()

    async def hangs(_name: str) -> None:
        stuck.set()
        await released.wait()

    second.store.head = hangs  # type: ignore[method-assign]
    asking = asyncio.create_task(first.context("b").read("context"))
    await stuck.wait()
    first.store.elsewhere = lambda _name: None
    is_problem(await asking, 404, "not_found")
    released.set()


async def test_contexts_of_both_nodes_are_one_list(pair: Pair) -> None:
    first, second = pair
    for name in ("a1", "b1", "a2", "b2", "c"):
        await first.context(name).put()
    for node in pair:
        seen: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = (await node.client.get("/v1/contexts", params={"limit": 2, **after})).json()
            seen += [context["id"] for context in page["contexts"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert seen == ["a1", "a2", "b1", "b2", "c"]
    assert len(second.store._heads) == 2


async def test_live_streams_go_through(pair: Pair) -> None:
    first, second = pair
    await second.context("b").put()
    await second.context("b").say("one")
    path = "/v1/contexts/b"
    async with (
        connect(f"{first.url.replace('http', 'ws')}{path}/stream?cursor=0", proxy=None) as socket,
        first.client.stream("GET", f"{path}/events?cursor=0") as events,
    ):
        lines = events.aiter_lines()
        assert json.loads(await socket.recv())["seq"] == 1
        await second.context("b").say("two")
        while json.loads(await socket.recv()).get("seq") != 2:
            pass
        async for line in lines:
            if '"seq":2' in line:
                break
        await socket.send('{"type":"pong"}')
        await second.context("b").delete()
        async for _ in socket:
            pass
        assert socket.close_code == 1000
        assert "closed for good" in (socket.close_reason or "")


async def test_a_follower_that_leaves_is_let_go_at_the_other_node(pair: Pair) -> None:
    first, second = pair
    await second.context("b").put()
    async with (
        first.client.stream("GET", "/v1/contexts/b/events"),
        connect(f"{first.url.replace('http', 'ws')}/v1/contexts/b/stream", proxy=None),
    ):

        async def both() -> bool:
            return len(second.store.live._followers.get("b", ())) == 2

        await until_async(both, "they follow")

    async def nobody() -> bool:
        await second.context("b").say("is anybody there?")
        return not second.store.live._followers

    await until_async(nobody, "they are let go")


async def test_a_node_that_stops_lets_go_of_what_it_passes_on(pair: Pair) -> None:
    """It would wait for ever for streams that the other node goes on with; an answer that comes
    from there is still given."""
    first, second = pair
    await second.context("b").put()
    await second.context("b").say("one")
    asked, released = asyncio.Event(), asyncio.Event()
    head = second.store.head

    async def slow(name: str) -> Any:
        asked.set()
        await released.wait()
        return await head(name)

    async with (
        asyncio.timeout(PATIENCE_S),
        first.client.stream("GET", "/v1/contexts/b/events?cursor=0") as events,
        connect(f"{first.url.replace('http', 'ws')}/v1/contexts/b/stream", proxy=None) as socket,
    ):
        lines = events.aiter_lines()
        while '"seq":1' not in await anext(lines):
            pass
        second.store.head = slow  # type: ignore[method-assign]
        asking = asyncio.create_task(first.context("b").read("context"))
        await asked.wait()
        stopping = asyncio.create_task(first.stop())
        async for _ in lines:
            pass
        with pytest.raises(ConnectionClosedError):
            async for _ in socket:
                pass
        assert not stopping.done()
        released.set()
        assert (await asking).status_code == 200
    await stopping

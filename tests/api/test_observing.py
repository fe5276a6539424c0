"""Request ids and trace contexts: in every answer, in every event, in every line that is logged."""

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from api.access import AccessRules
from api.app import make_api
from rewindow.logs import with_request
from schemas.trail import Trail
from tests.api.conftest import four_bytes_a_token
from tests.support.asgi import send
from tests.support.contexts import Context, said
from tests.support.memory_store import MemoryStore, broker_gone

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ID = {"X-Request-Id": "r-1"}


async def test_the_clients_id_comes_back_in_every_answer(
    context: Context, store: MemoryStore
) -> None:
    client, path = context.client, context.path
    for method, url, status in (
        ("GET", path, 200),
        ("HEAD", path, 200),
        ("GET", f"{path}/tail", 200),
        ("GET", "/health/live", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/contexts/nobody", 404),
        ("GET", "/nothing", 404),
        ("POST", path, 405),
        ("POST", f"{path}/messages", 400),
        ("DELETE", path, 204),
    ):
        answer = await client.request(method, url, headers=ID)
        assert (answer.status_code, answer.headers.get_list("X-Request-Id")) == (status, ["r-1"])
    for outage, status in ((broker_gone(), 503), (RuntimeError("a bug"), 500)):
        store.outage = outage
        answer = await client.get(path, headers=ID)
        assert (answer.status_code, answer.headers["X-Request-Id"]) == (status, "r-1")


async def test_a_bug_outside_our_routes_and_a_refusal_at_the_door_have_it_too(
    app: FastAPI, store: MemoryStore
) -> None:
    async def broken(_request: Request) -> Response:
        raise RuntimeError("a bug")

    app.router.routes.append(Route("/broken", broken))
    locked = make_api(store, four_bytes_a_token, access=AccessRules(("key",)))
    for served, url, status in ((app, "/broken", 500), (locked, "/v1/contexts", 401)):
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url="http://memory") as client:
            answer = await client.get(url, headers=ID)
        assert (answer.status_code, answer.headers["X-Request-Id"]) == (status, "r-1")


@pytest.mark.parametrize(
    "sent",
    [[], [b""], [b"a b"], [b"a" * 129], [b"\xe4"], [b"a\tb"], [b"one", b"two"]],
    ids=["none", "empty", "space", "long", "latin-1", "tab", "two"],
)
async def test_without_a_sound_one_there_is_a_new_one(app: FastAPI, sent: list[bytes]) -> None:
    headers = [(b"x-request-id", value) for value in sent]
    answers = [await send(app, "GET", b"/v1/contexts", headers=headers) for _ in range(2)]
    new = {answer.headers["x-request-id"] for answer in answers}
    assert len(new) == 2
    for request_id in new:
        assert len(request_id) == 32
        int(request_id, 16)


async def test_the_longest_and_oddest_sound_id_is_kept(app: FastAPI) -> None:
    odd = b'!"\\~' + b"z" * 124
    answer = await send(app, "GET", b"/v1/contexts", headers=[(b"x-request-id", odd)])
    assert answer.headers["x-request-id"] == odd.decode()


async def test_id_and_trace_context_go_into_every_event(
    context: Context, store: MemoryStore
) -> None:
    headers = ID | {"traceparent": TRACEPARENT}
    await context.put(headers=headers)
    await context.post({"message": said("a")}, headers=headers)
    await context.compact({"replacement": []}, headers=headers)
    await context.patch({"metadata": {}}, headers=headers)
    await context.client.delete(context.path, headers=headers)
    events = store.log[1:]
    assert len(events) == 5
    assert [event.trail for event in events] == 5 * [Trail("r-1", TRACEPARENT)]


async def test_a_new_id_is_the_events_too_and_a_trace_context_that_is_none_is_not(
    context: Context, store: MemoryStore
) -> None:
    answer = await context.post({"message": said("a")}, headers={"traceparent": "00-none"})
    assert store.log[-1].trail == Trail(answer.headers["X-Request-Id"], None)


async def test_requests_at_the_same_time_keep_their_own(
    context: Context, store: MemoryStore
) -> None:
    async def ask(number: int) -> None:
        name = f"r-{number}"
        answer = await context.post({"message": said(name)}, headers={"X-Request-Id": name})
        assert answer.headers["X-Request-Id"] == name

    await asyncio.gather(*(ask(number) for number in range(20)))
    for event in store.log[1:]:
        (message,) = event.data.messages  # type: ignore[union-attr]
        assert event.trail.request_id is not None
        assert event.trail.request_id.encode() in bytes(message.parts)


async def test_a_retry_under_another_id_is_still_a_retry(context: Context) -> None:
    key = {"Idempotency-Key": "k"}
    first = await context.post({"message": said("a")}, headers=key | {"X-Request-Id": "r-1"})
    again = await context.post({"message": said("a")}, headers=key | {"X-Request-Id": "r-2"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert again.headers["X-Request-Id"] == "r-2"


async def test_what_is_logged_meanwhile_has_the_id_and_nothing_after(
    context: Context, store: MemoryStore
) -> None:
    store.outage = RuntimeError("a bug")
    with capture_logs(processors=[with_request]) as logged:
        await context.client.get(context.path, headers=ID)
        structlog.get_logger().info("later")
    assert [line.get("request_id") for line in logged] == ["r-1", None]


async def test_a_websocket_has_one_too(app: FastAPI, context: Context) -> None:
    sent: list[Any] = []
    words: asyncio.Queue[Any] = asyncio.Queue()
    words.put_nowait({"type": "websocket.connect"})
    words.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def take(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": f"{context.path}/stream",
        "query_string": b"",
        "headers": [(b"x-request-id", b"r-1")],
    }
    await app(scope, words.get, take)
    assert sent[0]["type"] == "websocket.accept"
    assert (b"x-request-id", b"r-1") in sent[0]["headers"]

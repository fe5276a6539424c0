"""Paths as they were sent, and bugs as clients see them."""

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from tests.support.asgi import send
from tests.support.contexts import Context, is_problem, said
from tests.support.memory_store import MemoryStore, broker_gone


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"a%2520b", "a%20b"),
        (b"%E4%B8%96", "世"),
        ("世".encode(), "世"),
        (b"+", "+"),
        (b"a;b=c", "a;b=c"),
    ],
)
async def test_a_name_is_decoded_once(app: FastAPI, sent: bytes, name: str) -> None:
    answer = await send(app, "PUT", b"/v1/contexts/" + sent)
    assert (answer.status, answer.json()["id"]) == (201, name)


@pytest.mark.parametrize("sent", [b"100%", b"%zz", b"a%2", b"%u4E16"])
async def test_a_stray_percent_is_refused(app: FastAPI, sent: bytes) -> None:
    answer = await send(app, "PUT", b"/v1/contexts/" + sent)
    assert answer.status == 400
    assert "%25" in answer.json()["message"]


@pytest.mark.parametrize("sent", [b"\xff", b"a\xe9", b"%ff"])
async def test_bytes_that_are_not_utf_8_are_refused(app: FastAPI, sent: bytes) -> None:
    answer = await send(app, "GET", b"/v1/contexts/" + sent + b"/tail")
    assert (answer.status, answer.json()["field"]) == (400, "id")


async def test_a_bug_is_logged_under_the_trace_id_that_the_client_gets(
    context: Context, store: MemoryStore
) -> None:
    store.outage = RuntimeError("a secret of the inside")
    with capture_logs() as logged:
        answers = [
            await context.client.get(context.path),
            await context.post({"message": said("a")}, headers={"Idempotency-Key": "k"}),
        ]
    for answer, entry in zip(answers, logged, strict=True):
        body = is_problem(answer, 500, "internal")
        assert "secret" not in answer.text
        assert body["trace_id"] in body["message"]
        assert entry["trace_id"] == body["trace_id"]
        assert entry["exc_info"] is store.outage
    assert answers[1].headers["Idempotency-Key"] == "k"


async def test_a_bug_outside_our_routes_has_our_shape_too(app: FastAPI) -> None:
    async def broken(_request: Request) -> Response:
        raise RuntimeError("a secret of the inside")

    app.router.routes.append(Route("/broken", broken))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://memory") as client:
        answer = await client.get("/broken")
    is_problem(answer, 500, "internal")
    assert "secret" not in answer.text


async def test_an_outage_says_when_to_ask_again(context: Context, store: MemoryStore) -> None:
    store.outage = broker_gone()
    for answer in (
        await context.client.get(context.path),
        await context.read("tail"),
        await context.read("messages"),
        await context.read("context"),
        await context.put(),
        await context.post({"message": said("a")}),
        await context.compact({"replacement": []}),
        await context.patch({"metadata": {}}),
        await context.delete(),
    ):
        body = is_problem(answer, 503, "unavailable")
        assert (body["retry_after"], answer.headers["Retry-After"]) == (7, "7")
        assert ("Idempotency-Key" in answer.headers) == (answer.request.method != "GET")

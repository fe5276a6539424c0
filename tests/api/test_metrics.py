"""What an operator sees of HTTP: every metric of it moves, and no client can make them grow."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from api.access import AccessRules
from api.app import make_api
from streams.core.outcome import Refused
from streams.metrics import Metrics
from tests.api.conftest import four_bytes_a_token
from tests.support.contexts import Context, said
from tests.support.exposition import Samples, moved, samples_of
from tests.support.memory_store import MemoryStore, broker_gone
from tests.support.wait import until_async

CONTRACT = (
    "rewindow_messages_append_total",
    "rewindow_messages_token_count",
    "rewindow_append_duration_seconds",
    "rewindow_read_duration_seconds",
    "rewindow_archive_pending_rows",
    "rewindow_archive_pending_contexts",
    "rewindow_archive_flush_duration_seconds",
    "rewindow_archive_attempted_total",
    "rewindow_archive_inserted_total",
    "rewindow_archive_bytes_attempted_total",
    "rewindow_archive_bytes_inserted_total",
    "rewindow_archive_lag",
    "rewindow_archive_tail_size",
    "rewindow_archive_trimmed_total",
    "rewindow_archive_llm_token_count",
    "rewindow_fold_lag_events",
    "rewindow_stream_connections",
    "rewindow_refused_total",
)


async def seen(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return samples_of(answer.text)


async def test_every_metric_of_the_contract_is_there_with_its_help(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for name in CONTRACT:
        assert f"\n# HELP {name} " in answer.text, name
    assert samples_of(answer.text)["process_resident_memory_bytes"] > 0


async def test_appends_and_reads_are_timed_by_route(context: Context) -> None:
    before = await seen(context.client)
    await context.say("a")
    await context.say("b", "c")
    await context.read("tail")
    await context.read("messages")
    await context.window()
    await context.client.head(f"{context.path}/context")
    await context.get()
    await context.client.get("/v1/contexts")
    change = moved(before, await seen(context.client))
    assert change["rewindow_append_duration_seconds_count"] == 2
    assert change["rewindow_append_duration_seconds_sum"] > 0
    reads = {
        name.partition('"')[2].rpartition('"')[0]: count
        for name, count in change.items()
        if name.startswith("rewindow_read_duration_seconds_count")
    }
    path = "/v1/contexts/{id}"
    assert reads == {
        f"{path}/tail": 1,
        f"{path}/messages": 1,
        f"{path}/context": 2,
        path: 1,
        "/v1/contexts": 1,
    }


async def test_requests_are_counted_by_route_and_status(context: Context) -> None:
    before = await seen(context.client)
    await context.put()
    await context.delete()
    await context.client.get("/v1/contexts/nobody")
    await context.client.get("/a/b/c")
    change = moved(before, await seen(context.client))
    for route, status in (
        ("/v1/contexts/{id}", 200),
        ("/v1/contexts/{id}", 204),
        ("/v1/contexts/{id}", 404),
        ("other", 404),
        ("/metrics", 200),
    ):
        name = f'rewindow_requests_total{{route="{route}",status="{status}"}}'
        assert change[name] == 1, name


async def test_error_answers_are_counted_by_their_code(
    context: Context, store: MemoryStore
) -> None:
    before = await seen(context.client)
    await context.client.get("/v1/contexts/nobody")
    await context.client.get("/nothing")
    await context.client.put("/metrics")
    await context.post({})
    await context.post({}, headers={"Idempotency-Key": ""})
    await context.post({"message": said("x" * (1 << 20))})
    store.outage = broker_gone()
    await context.client.get(context.path)
    store.outage = RuntimeError("a bug")
    await context.client.get(context.path)
    change = moved(before, await seen(context.client))
    assert {name: n for name, n in change.items() if "refused" in name} == {
        'rewindow_refused_total{reason="not_found"}': 2,
        'rewindow_refused_total{reason="method_not_allowed"}': 1,
        'rewindow_refused_total{reason="invalid_request"}': 2,
        'rewindow_refused_total{reason="too_large"}': 1,
        'rewindow_refused_total{reason="unavailable"}': 1,
        'rewindow_refused_total{reason="internal"}': 1,
    }


async def test_what_the_fold_refuses_is_counted_by_the_fold_and_not_again(
    context: Context, store: MemoryStore
) -> None:
    before = await seen(context.client)
    for code in ("conflict", "tombstoned"):
        store.outcome = Refused(code, "no", 3)  # type: ignore[arg-type]
        answer = await context.post({"message": said("a")})
        assert answer.status_code == 409
    change = moved(before, await seen(context.client))
    assert not [name for name in change if "refused" in name]
    assert change["rewindow_append_duration_seconds_count"] == 2


async def test_refusals_at_the_door_are_counted_too(store: MemoryStore) -> None:
    metrics = Metrics()
    rules = AccessRules(("key",), rate_limit=1)
    app = make_api(store, four_bytes_a_token, access=rules, metrics=metrics)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://memory") as client:
        await client.get("/v1/contexts")
        allowed = {"Authorization": "Bearer key"}
        answers = [await client.get("/v1/contexts", headers=allowed) for _ in range(20)]
    limited = sum(answer.status_code == 429 for answer in answers)
    assert limited
    after = samples_of(metrics.exposition().decode())
    assert after['rewindow_refused_total{reason="unauthorized"}'] == 1
    assert after['rewindow_refused_total{reason="rate_limited"}'] == limited


async def test_labels_hold_nothing_that_a_client_may_choose(context: Context) -> None:
    await seen(context.client)
    count = len(await seen(context.client))
    for number in range(20):
        await context.client.get(f"/v1/contexts/secret-{number}")
        await context.client.get(f"/secret-{number}")
        await context.client.request(f"SECRET-{number}", "/v1/contexts")
    text = (await context.client.get("/metrics")).text
    assert "secret" not in text.lower()
    # One for each of the three statuses, one for each of the two codes, and the read's route.
    assert len(samples_of(text)) < count + 30


@asynccontextmanager
async def following(app: FastAPI, context_id: str) -> AsyncIterator[asyncio.Queue[Any]]:
    """What a websocket is sent while it is open."""
    sent: asyncio.Queue[Any] = asyncio.Queue()
    words: asyncio.Queue[Any] = asyncio.Queue()
    path = f"/v1/contexts/{context_id}/stream"
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "extensions": {},
    }
    words.put_nowait({"type": "websocket.connect"})
    served = asyncio.create_task(app(scope, words.get, sent.put))
    try:
        assert (await sent.get())["type"] == "websocket.accept"
        yield sent
    finally:
        words.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await served


async def test_open_streams_are_counted_while_they_are_open(context: Context, app: FastAPI) -> None:
    async def open_streams() -> float:
        return (await seen(context.client))["rewindow_stream_connections"]

    assert await open_streams() == 0
    async with following(app, context.id) as one, following(app, context.id) as two:
        await until_async(lambda: _is(open_streams, 2), "both are open")
        await context.say("a")
        for sent in (one, two):
            assert json.loads((await sent.get())["text"])["type"] == "message"
    assert await open_streams() == 0


async def _is(count: Callable[[], Awaitable[float]], number: int) -> bool:
    return await count() == number


async def test_a_stream_that_is_refused_is_counted(context: Context, app: FastAPI) -> None:
    async with following(app, "nobody") as sent:
        assert (await sent.get())["code"] == 4404
    after = await seen(context.client)
    assert after['rewindow_refused_total{reason="not_found"}'] == 1
    route = "/v1/contexts/{id}/stream"
    assert after[f'rewindow_requests_total{{route="{route}",status="101"}}'] == 1

"""Waiting for a version, and windows that never mix two of them."""

import asyncio

import pytest

from api.routes import window
from streams.core.head import Head
from streams.core.window import Shown
from tests.support.contexts import Context, is_problem, texts
from tests.support.memory_store import MemoryStore


async def test_a_version_that_does_not_come_is_unavailable(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "MIN_VERSION_WAIT_S", 0.05)
    answer = await context.read("context", min_version=1)
    body = is_problem(answer, 503, "unavailable")
    assert "version 1" in body["message"]
    assert answer.headers["Retry-After"] == "1"


async def test_the_wait_is_over_when_the_version_is_there(
    context: Context, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = asyncio.Event()
    at_version = store.at_version

    async def watched(context_id: str, version: int, timeout_s: float) -> bool:
        assert timeout_s == 5
        waits.set()
        return await at_version(context_id, version, timeout_s)

    monkeypatch.setattr(store, "at_version", watched)
    reading = asyncio.create_task(context.window(min_version=1))
    await waits.wait()
    await context.say("a")
    assert texts((await reading)["messages"]) == ["a"]


async def test_a_budget_that_changes_in_between_is_taken_up(
    context: Context, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await context.say("a", "b", "c", tokens=10)
    show = store.show

    async def after_a_put(context_id: str, budget: int | None) -> tuple[Head, Shown] | None:
        monkeypatch.setattr(store, "show", show)
        await context.put({"token_budget": 20})
        return await show(context_id, budget)

    monkeypatch.setattr(store, "show", after_a_put)
    answer = await context.window()
    assert (answer["token_budget"], answer["used_tokens"]) == (20, 20)
    assert texts(answer["messages"]) == ["b", "c"]

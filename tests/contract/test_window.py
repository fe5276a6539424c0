"""The window: what is in it, its bound, compaction."""

import asyncio

import pytest

from tests.support.contexts import Context, is_problem, said, texts


async def test_an_empty_window(context: Context) -> None:
    assert await context.window() == {
        "version": 0,
        "messages": [],
        "used_tokens": 0,
        "token_budget": 8192,
        "needs_compaction": False,
        "segments": [],
    }


async def test_a_live_window(context: Context) -> None:
    await context.say("a", "b", tokens=10)
    window = await context.window()
    assert texts(window["messages"]) == ["a", "b"]
    assert (window["version"], window["used_tokens"]) == (1, 20)
    assert window["segments"] == [{"type": "live", "from_seq": 1, "to_seq": 2}]


async def test_the_bound_holds_whatever_is_said(unknown: Context) -> None:
    await unknown.put({"token_budget": 100})
    for tokens in (30, 60, 90, 5, 100, 1, 99, 101, 3):
        await unknown.say("x", tokens=tokens)
        window = await unknown.window()
        fits = window["used_tokens"] <= window["token_budget"] == 100
        alone = window.get("over_budget") is True and len(window["messages"]) == 1
        assert fits != alone


async def test_one_message_over_the_budget_stands_alone(unknown: Context) -> None:
    await unknown.put({"token_budget": 10})
    await unknown.say("a", "b", tokens=11)
    window = await unknown.window()
    assert texts(window["messages"]) == ["b"]
    assert window["over_budget"] is True
    assert window["segments"] == [{"type": "live", "from_seq": 2, "to_seq": 2}]


async def test_budget_tokens_hold_for_one_read(context: Context) -> None:
    await context.say("a", "b", "c", tokens=10)
    window = await context.window(budget_tokens=25)
    assert texts(window["messages"]) == ["b", "c"]
    assert (window["used_tokens"], window["token_budget"]) == (20, 25)
    assert window["segments"] == [{"type": "live", "from_seq": 2, "to_seq": 3}]
    assert "over_budget" not in window
    assert (await context.window(budget_tokens=9))["over_budget"] is True
    assert len((await context.window())["messages"]) == 3


async def test_budget_tokens_may_be_larger_than_the_budget(unknown: Context) -> None:
    await unknown.put({"token_budget": 100, "trigger_ratio": 1})
    await unknown.say("a", "b", tokens=50)
    await unknown.put({"token_budget": 50})
    assert texts((await unknown.window())["messages"]) == ["b"]
    assert texts((await unknown.window(budget_tokens=100))["messages"]) == ["a", "b"]


async def test_manual_drops_nothing_by_itself(unknown: Context) -> None:
    await unknown.put({"token_budget": 10, "policy": {"strategy": "manual"}})
    await unknown.say("a", "b", "c", tokens=10)
    window = await unknown.window()
    assert texts(window["messages"]) == ["a", "b", "c"]
    assert (window["used_tokens"], window["needs_compaction"]) == (30, True)
    assert "over_budget" not in window
    assert texts((await unknown.window(budget_tokens=20))["messages"]) == ["b", "c"]


async def test_skip_parts(unknown: Context) -> None:
    policy = {"strategy": "skip_parts", "config": {"skip_kinds": ["tool"]}}
    await unknown.put({"token_budget": 50, "policy": policy})
    result = {"type": "tool_result", "x": "y " * 400}
    mixed = {"role": "tool", "parts": [result, {"type": "text", "text": "kept"}]}
    await unknown.post({"messages": [mixed, {"role": "tool", "parts": [result]}, said("end")]})
    window = await unknown.window()
    assert texts(window["messages"]) == ["kept", "end"]
    assert [message["seq"] for message in window["messages"]] == [1, 3]
    assert len((await unknown.read("tail")).json()["messages"][0]["parts"]) == 2


async def test_if_version(context: Context) -> None:
    await context.say("a")
    assert (await context.read("context", if_version=1)).status_code == 200
    body = is_problem(await context.read("context", if_version=0), 409, "conflict")
    assert body["version"] == 1
    assert "0" in body["message"]
    assert "1" in body["message"]


async def test_min_version_waits_for_the_fold(context: Context) -> None:
    reading = asyncio.create_task(context.window(min_version=2))
    await context.say("a")
    await context.say("b")
    assert (await reading)["version"] == 2
    assert (await context.window(min_version=0))["version"] == 2


async def test_a_compaction_replaces_the_window_and_nothing_else(context: Context) -> None:
    await context.say("a", "b", "c")
    answer = await context.compact({"replacement": [said("summary", tokens=5)], "if_version": 1})
    assert (answer.status_code, answer.json()) == (200, {"version": 2})
    window = await context.window()
    assert texts(window["messages"]) == ["summary"]
    assert window["used_tokens"] == 5
    assert window["segments"] == [{"type": "summary", "from_seq": 1, "to_seq": 3}]
    assert "seq" not in window["messages"][0]

    await context.say("d", tokens=1)
    window = await context.window()
    assert texts(window["messages"]) == ["summary", "d"]
    assert window["segments"][1] == {"type": "live", "from_seq": 4, "to_seq": 4}
    for noun in ("tail", "messages"):
        assert texts((await context.read(noun)).json()["messages"]) == ["a", "b", "c", "d"]


async def test_an_empty_replacement_empties_the_window(context: Context) -> None:
    await context.say("a")
    assert (await context.compact({"replacement": []})).json() == {"version": 2}
    window = await context.window()
    assert (window["messages"], window["segments"], window["used_tokens"]) == ([], [], 0)


async def test_messages_that_were_read_can_replace(context: Context) -> None:
    await context.say("a", "b")
    window = await context.window()
    answer = await context.compact({"replacement": window["messages"][1:]})
    assert answer.status_code == 200
    after = await context.window()
    assert texts(after["messages"]) == ["b"]
    assert after["used_tokens"] == window["messages"][1]["token_count"]
    assert (await context.compact({"replacement": after["messages"]})).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "replacement"),
        ({"replacement": None}, "replacement"),
        ({"replacement": [said("a")], "x": 1}, "x"),
        ({"replacement": [{"role": "user", "parts": []}]}, "replacement[0].parts"),
        ({"replacement": [said("a"), said("b") | {"y": 1}]}, "replacement[1].y"),
    ],
)
async def test_a_bad_compaction_is_refused(
    context: Context, body: dict[str, object], field: str
) -> None:
    is_problem(await context.compact(body), 400, "invalid_request", field)


async def test_a_compaction_of_an_old_window_is_a_conflict(context: Context) -> None:
    await context.say("a")
    answer = await context.compact({"replacement": [], "if_version": 0})
    assert is_problem(answer, 409, "conflict")["version"] == 1


async def test_a_large_replacement_is_too_large(context: Context) -> None:
    answer = await context.compact({"replacement": [said("x" * (1 << 20))]})
    assert "replacement[0]" in is_problem(answer, 413, "too_large")["message"]

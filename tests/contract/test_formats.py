"""The window in the shape of a provider: what stands around it, and when what a model thought may
be sent back."""

from typing import Any

import pytest

from formats.rendering import RENDERERS
from tests.support.contexts import Context, Json, is_problem, said

THOUGHT = {"type": "reasoning", "text": "hm", "signature": "s", "provider": "anthropic"}


def answer(text: str = "so", *, tokens: int = 10) -> Json:
    """What a model says that has thought before."""
    parts = [THOUGHT, {"type": "text", "text": text}]
    return {"role": "assistant", "token_count": tokens, "parts": parts}


async def rendered(context: Context, kind: str = "anthropic", **query: Any) -> Json:
    return await context.window(format=kind, **query)


async def thoughts(context: Context, **query: Any) -> int:
    """How much of what the model thought is sent back."""
    messages = (await rendered(context, **query))["messages"]
    blocks = [block for message in messages for block in message["content"]]
    return sum(block["type"] == "thinking" for block in blocks)


@pytest.mark.parametrize("kind", RENDERERS)
async def test_an_empty_window(context: Context, kind: str) -> None:
    name = "input" if kind == "openai-responses" else "messages"
    assert await rendered(context, kind) == {
        "version": 0,
        "format": kind,
        name: [],
        "left_out": {},
        "used_tokens": 0,
        "token_budget": 8192,
        "needs_compaction": False,
        "segments": [],
    }


@pytest.mark.parametrize("kind", RENDERERS)
async def test_what_stands_around_is_what_it_is_without_a_format(
    context: Context, kind: str
) -> None:
    await context.say("a", "b", "c", tokens=10)
    plain = await context.window(budget_tokens=25)
    found = await rendered(context, kind, budget_tokens=25)
    assert len(found["input" if "input" in found else "messages"]) in (1, 2)
    own = ("format", "left_out", "messages", "input", "system")
    around = {name: value for name, value in found.items() if name not in own}
    del plain["messages"]
    assert around == plain


async def test_an_unknown_format_is_refused(context: Context) -> None:
    problem = is_problem(
        await context.read("context", format="x"), 400, "invalid_request", "format"
    )
    assert all(kind in problem["message"] for kind in RENDERERS)


async def test_conditions_hold_with_a_format_too(context: Context) -> None:
    await context.say("a")
    answer = await context.read("context", format="anthropic", if_version=0)
    assert is_problem(answer, 409, "conflict")["version"] == 1


async def test_what_can_not_be_expressed_names_the_seq(context: Context) -> None:
    await context.say("a")
    await context.post({"message": {"role": "user", "parts": [{"type": "hologram"}]}})
    problem = is_problem(await context.read("context", format="anthropic"), 422, "not_expressible")
    assert problem["seq"] == 2
    assert "hologram" in problem["message"]
    assert (await context.read("context")).status_code == 200
    await context.compact({"replacement": [{"role": "user", "parts": [{"type": "hologram"}]}]})
    assert "seq" not in (await context.read("context", format="anthropic")).json()


async def test_parts_that_are_no_parts_are_no_bug(context: Context) -> None:
    parts = [
        {"type": "text"},
        {"type": "text", "text": "x", "state": 1},
        {"type": "text", "text": "x", "id": None},
        {"type": "tool-call", "call_id": 1, "name": "x"},
        {"type": "tool-x", "toolCallId": {}},
        {"type": "tool-result", "call_id": "c", "output": "x"},
        {"type": "reasoning", "provider_metadata": {"anthropic": 1}},
        {"type": "opaque", "provider": "anthropic", "kind": "x", "value": 1},
    ]
    for part in parts:
        await context.compact({"replacement": [{"role": "assistant", "parts": [part]}]})
        for kind in RENDERERS:
            assert (await context.read("context", format=kind)).status_code in (200, 422)


# -- what was thought ------------------------------------------------------------------------------


async def test_what_was_thought_is_sent_back_while_the_window_only_grows(context: Context) -> None:
    await context.post({"messages": [said("a"), answer(), said("b")]})
    await context.post({"message": answer()})
    assert await thoughts(context) == 2


async def test_nothing_is_once_a_message_was_dropped(unknown: Context) -> None:
    policy = {"strategy": "last_n", "config": {"limit": 3}}
    await unknown.put({"token_budget": 100, "trigger_ratio": 0.4, "policy": policy})
    await unknown.post({"messages": [said("a", tokens=10), answer(), said("b", tokens=10)]})
    assert await thoughts(unknown) == 1
    await unknown.post({"messages": [answer(), said("c", tokens=10)]})
    assert await thoughts(unknown) == 0
    assert (await rendered(unknown))["left_out"] == {"reasoning": 1}


async def test_nothing_is_in_a_smaller_budget(context: Context) -> None:
    await context.post({"messages": [said("a", tokens=10), answer(), said("b", tokens=10)]})
    assert await thoughts(context, budget_tokens=30) == 1
    assert await thoughts(context, budget_tokens=20) == 0


async def test_nothing_is_once_parts_were_dropped(unknown: Context) -> None:
    policy = {"strategy": "skip_parts", "config": {"skip_kinds": ["note"]}}
    await unknown.put({"token_budget": 100, "trigger_ratio": 0.2, "policy": policy})
    noted = said("a", tokens=10)
    noted["parts"].append({"type": "data", "name": "x", "data": 1})
    await unknown.post({"messages": [noted, answer()]})
    assert await thoughts(unknown) == 1
    await unknown.post({"message": answer()})
    assert await thoughts(unknown) == 0


async def test_a_compaction_begins_anew(context: Context) -> None:
    await context.post({"messages": [said("a"), answer(), said("b"), answer()]})
    kept = (await context.window())["messages"][2:]
    summary = {"role": "user", "parts": [{"type": "summary", "text": "a, and so"}]}
    await context.compact({"replacement": [summary, *kept]})
    assert await thoughts(context) == 0, "what was kept was thought behind other messages"
    await context.post({"messages": [said("c"), answer()]})
    assert await thoughts(context) == 1


async def test_nothing_is_once_a_part_of_the_summary_was_dropped(context: Context) -> None:
    await context.compact({"replacement": [said("a", tokens=10), said("b", tokens=10)]})
    await context.post({"messages": [said("c", tokens=10), answer()]})
    assert await thoughts(context, budget_tokens=40) == 1
    assert await thoughts(context, budget_tokens=30) == 0


async def test_what_is_undone_concerns_nothing_that_stands(context: Context) -> None:
    await context.post({"messages": [said("a"), answer(), said("b"), answer("not so")]})
    undone = await context.client.post(f"{context.path}/undo", json={"from_seq": 3})
    assert undone.status_code == 200
    await context.post({"messages": [said("c"), answer()]})
    assert await thoughts(context) == 2
    assert "not so" not in str(await rendered(context))


async def test_a_conversation_that_was_cleared_begins_anew(context: Context) -> None:
    await context.post({"messages": [said("a"), answer()]})
    await context.client.post(f"{context.path}/undo", json={"from_seq": 1})
    await context.post({"messages": [said("b"), answer()]})
    assert await thoughts(context) == 1

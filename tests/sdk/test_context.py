"""What the client does with contexts, messages and windows, through both doors."""

import inspect

import pytest

from rewindow_client import (
    AsyncContext,
    AsyncRewindow,
    Conflict,
    Context,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    Rewindow,
    Segment,
    Tombstoned,
    TooLarge,
    text,
)
from tests.sdk.doors import Door, listed


def says(*messages: object) -> list[str]:
    return [message.text for message in messages]


async def test_a_context_is_made_changed_and_deleted(client: Door, name: str) -> None:
    context = client.context(name)
    policy = {"strategy": "last_n", "config": {"limit": 7}}
    made = await context.configure(token_budget=900, policy=policy, metadata={"a": 1, "b": 2})
    assert (made.id, made.token_budget, made.policy, made.version) == (name, 900, policy, 0)
    changed = await context.configure(trigger_ratio=0.5)
    assert (changed.token_budget, changed.trigger_ratio) == (900, 0.5)
    patched = await context.patch_metadata({"a": None, "c": [3]})
    assert patched.metadata == {"b": 2, "c": [3]}
    await context.append(text("user", "One"))
    await context.delete()
    await context.delete()
    assert (await context.state()).status == "tombstoned"
    with pytest.raises(Tombstoned):
        await context.append(text("user", "Two"))
    assert says(*await context.tail()) == ["One"], "what was said stays readable"


async def test_contexts_are_listed_over_all_pages(client: Door, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    for one in names:
        await client.context(one).configure()
    found = await listed(client.contexts(name, page_size=2))
    assert [state.id for state in found] == names
    assert [state async for state in client.contexts(f"{name}-none")] == []


async def test_what_is_appended_comes_back_as_it_was(context: Door) -> None:
    parts = [
        {"type": "text", "text": 'NUL \0, " and \u2028 é 😀'},
        {"type": "number", "big": 10**30, "small": 1e-7, "none": None},
    ]
    metadata = {"nested": {"list": [1, 2.5, "three", True, None]}}
    said = {"role": "user", "parts": parts, "metadata": metadata, "id": "mine", "token_count": 12}
    appended = await context.append(said)
    assert (appended.first_seq, appended.last_seq, appended.token_estimates) == (1, 1, [12])
    (message,) = await context.tail()
    assert (message.role, message.parts, message.metadata) == ("user", parts, metadata)
    assert (message.id, message.seq, message.token_count, message.version) == ("mine", 1, 12, 1)
    assert (await context.window()).messages == [message]


async def test_several_messages_go_in_all_or_nothing(context: Door) -> None:
    appended = await context.append(text("user", "One"), text("assistant", "Two"))
    assert (appended.first_seq, appended.last_seq, appended.version) == (1, 2, 1)
    with pytest.raises(InvalidRequest) as refused:
        await context.append(text("user", "Three"), {"role": "user", "parts": []})
    assert refused.value.field == "messages[1].parts"
    assert says(*await context.tail()) == ["One", "Two"]


async def test_only_one_of_two_writes_with_one_version_wins(context: Door) -> None:
    await context.append(text("user", "One"), if_version=0)
    with pytest.raises(Conflict) as refused:
        await context.append(text("user", "Another"), if_version=0)
    assert refused.value.version == 1
    assert refused.value.status == 409
    assert "0" in str(refused.value)


async def test_a_key_of_ones_own_counts_once(context: Door) -> None:
    first = await context.append(text("user", "One"), key="mine")
    assert await context.append(text("user", "One"), key="mine") == first
    with pytest.raises(IdempotencyKeyReused) as refused:
        await context.append(text("user", "Two"), key="mine")
    assert refused.value.key == "mine"


async def test_the_history_is_read_over_all_pages_and_back(context: Door) -> None:
    for number in range(12):
        await context.append(text("user", str(number)))
    everything = [str(number) for number in range(12)]
    assert says(*await listed(context.replay(page_size=5))) == everything
    assert says(*await listed(context.replay(from_seq=-3))) == everything[-3:]
    page = await context.page(before_seq=7, limit=2)
    assert (says(*page.messages), page.next_seq, page.last_seq) == (["4", "5"], 5, 12)
    assert says(*await context.tail(limit=2, offset=3)) == ["7", "8"]
    assert await context.tail(offset=12) == []


async def test_what_is_undone_leaves_tail_and_window_and_stays_in_the_history(
    context: Door,
) -> None:
    await context.append(*(text("user", str(number)) for number in range(5)))
    undone = await context.undo(4, if_version=1)
    assert (undone.version, undone.undone, undone.from_seq, undone.to_seq) == (2, 2, 4, 5)
    assert says(*await context.tail()) == ["0", "1", "2"]
    assert says(*(await context.window()).messages) == ["0", "1", "2"]
    history = await listed(context.replay())
    assert [message.undone for message in history] == [False, False, False, True, True]
    nothing = await context.undo(4)
    assert (nothing.version, nothing.undone, nothing.from_seq) == (2, 0, None)


async def test_the_window_keeps_to_a_budget(context: Door) -> None:
    for number in range(6):
        await context.append({**text("user", str(number)), "token_count": 100})
    window = await context.window(budget_tokens=250, if_version=6, min_version=6)
    assert (says(*window.messages), window.used_tokens) == (["4", "5"], 200)
    assert (window.token_budget, window.over_budget) == (250, False)
    assert window.segments == [Segment("live", 5, 6)]
    assert (await context.window(budget_tokens=1)).over_budget
    with pytest.raises(Conflict):
        await context.window(if_version=1)


async def test_messages_that_were_read_may_stand_in_a_replacement(context: Door) -> None:
    await context.append(text("user", "One"), text("user", "Two"), text("user", "Three"))
    window = await context.window()
    summary = text("system", "One and two were said.")
    compacted = await context.compact([summary, window.messages[-1]], if_version=window.version)
    after = await context.window(min_version=compacted.version)
    assert says(*after.messages) == ["One and two were said.", "Three"]
    assert after.messages[0].seq is None
    assert after.segments[0] == Segment("summary", 1, 3)
    assert says(*await context.tail()) == ["One", "Two", "Three"]


async def test_what_is_not_there_and_what_is_too_much_is_said(client: Door, context: Door) -> None:
    with pytest.raises(NotFound, match="PUT it first"):
        await client.context("nobody made this").append(text("user", "One"))
    with pytest.raises(TooLarge):
        await context.append(text("user", "x" * (1 << 20)))
    with pytest.raises(InvalidRequest) as refused:
        await context.configure(policy={"strategy": "none such"})
    assert refused.value.field == "policy.strategy"


async def test_what_is_no_json_never_leaves(context: Door) -> None:
    for value in (float("nan"), float("inf"), "\ud800", object()):
        with pytest.raises((ValueError, TypeError)):
            await context.append({"role": "user", "parts": [{"type": "number", "value": value}]})
    assert (await context.state()).version == 0


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_a_path_can_not_hold_is_refused(client: Door, name: str) -> None:
    with pytest.raises(ValueError, match="can't stand in a path"):
        client.context(name)


@pytest.mark.parametrize(("waits", "awaits"), [(Rewindow, AsyncRewindow), (Context, AsyncContext)])
def test_both_doors_have_the_same_to_offer(waits: type, awaits: type) -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        return {
            name: [str(one) for one in inspect.signature(what).parameters.values()]
            for name, what in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert offered(waits) == offered(awaits)


async def test_a_window_in_the_shape_of_a_provider(context: Door) -> None:
    await context.append(text("system", "Be brief."), text("user", "Where is it?"))
    rendered = await context.window(format="openai-chat", budget_tokens=1000)
    assert (rendered.format, rendered.version, rendered.token_budget) == ("openai-chat", 1, 1000)
    assert rendered.left_out == {}
    assert rendered.request == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where is it?"},
        ]
    }
    with pytest.raises(InvalidRequest) as refused:
        await context.window(format="none such")
    assert refused.value.field == "format"

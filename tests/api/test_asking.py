"""What the store may answer that was not asked for."""

import pytest

from streams.core.outcome import Advanced, Outcome, Stale, Unread
from tests.support.contexts import Context, is_problem, said
from tests.support.memory_store import MemoryStore


async def test_events_say_where_they_come_from_and_create_nothing(
    context: Context, store: MemoryStore
) -> None:
    await context.post({"message": said("a")}, headers={"Idempotency-Key": "k"})
    event = store.log[-1]
    assert (event.id, event.subject, event.source) == ("k", "c", "/rewindow/http")
    assert event.data.create is False


async def test_a_write_to_an_unknown_context_never_reaches_the_log(
    context: Context, store: MemoryStore
) -> None:
    written = len(store.log)
    other = Context(context.client, "unknown")
    for answer in (
        await other.post({"message": said("a")}),
        await other.compact({"replacement": []}),
        await other.patch({"metadata": {}}),
        await other.delete(),
    ):
        is_problem(answer, 404, "not_found")
    assert len(store.log) == written


async def test_a_lost_answer_asks_for_a_retry(context: Context, store: MemoryStore) -> None:
    store.outcome = Stale()
    answer = await context.post({"message": said("a")}, headers={"Idempotency-Key": "k"})
    assert "Idempotency-Key" in is_problem(answer, 503, "unavailable")["message"]
    assert answer.headers["Idempotency-Key"] == "k"


@pytest.mark.parametrize("outcome", [Advanced(), Unread("not JSON")])
async def test_an_answer_to_another_question_is_a_bug(
    context: Context, store: MemoryStore, outcome: Outcome
) -> None:
    store.outcome = outcome
    for answer in (
        await context.put(),
        await context.patch({"metadata": {}}),
        await context.delete(),
        await context.post({"message": said("a")}),
        await context.compact({"replacement": []}),
    ):
        is_problem(answer, 500, "internal")

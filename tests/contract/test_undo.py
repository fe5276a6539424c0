"""Undo: the history keeps what was said, the window and the tail don't."""

import asyncio
from typing import Any

import pytest

from tests.support.contexts import Context, is_problem, said, texts


async def tail(context: Context, **query: Any) -> list[str]:
    return texts((await context.read("tail", **query)).json()["messages"])


async def test_what_is_undone_leaves_window_and_tail_and_stays_in_the_history(
    context: Context,
) -> None:
    await context.say("a", "b", "c", "d", tokens=10)
    before = (await context.read("messages")).json()["messages"]
    answer = await context.undo({"from_seq": 3})
    assert answer.status_code == 200
    assert answer.json() == {"version": 2, "undone": 2, "from_seq": 3, "to_seq": 4}

    window = await context.window()
    assert (texts(window["messages"]), window["used_tokens"]) == (["a", "b"], 20)
    assert window["segments"] == [{"type": "live", "from_seq": 1, "to_seq": 2}]
    assert await tail(context) == ["a", "b"]
    history = (await context.read("messages")).json()
    assert history["messages"] == before
    assert history["undone"] == [{"from_seq": 3, "to_seq": 4}]
    assert (history["version"], history["last_seq"]) == (2, 4)

    assert await context.say("e", tokens=10) == {
        "first_seq": 5,
        "last_seq": 5,
        "version": 3,
        "token_estimates": [10],
    }
    window = await context.window()
    assert [message["seq"] for message in window["messages"]] == [1, 2, 5]
    assert window["segments"] == [{"type": "live", "from_seq": 1, "to_seq": 5}]
    assert await tail(context, limit=2) == ["b", "e"]
    assert await tail(context, limit=2, offset=1) == ["a", "b"]
    assert await tail(context, offset=3) == []
    assert (await context.get())["last_seq"] == 5


async def test_the_newest_is_taken_back_again_and_again_until_nothing_is_left(
    context: Context,
) -> None:
    await context.say("a", "b")
    await context.say("c")
    for seq, version in ((3, 3), (2, 4), (1, 5)):
        newest = (await context.read("tail", limit=1)).json()["messages"][0]["seq"]
        answer = await context.undo({"from_seq": newest, "if_version": version - 1})
        assert answer.json() == {
            "version": version,
            "undone": 1,
            "from_seq": seq,
            "to_seq": seq,
        }
    nothing = {"version": 5, "undone": 0, "from_seq": None, "to_seq": None}
    assert (await context.undo({"from_seq": 1})).json() == nothing
    assert (await context.undo({"from_seq": 10**30})).json() == nothing
    assert (await context.window())["segments"] == []
    history = (await context.read("messages")).json()
    assert texts(history["messages"]) == ["a", "b", "c"]
    assert history["undone"] == [{"from_seq": 1, "to_seq": 3}]


async def test_a_page_of_the_history_says_which_of_it_is_undone(context: Context) -> None:
    for first in (1, 3, 5):
        await context.say("stays", "goes")
        await context.undo({"from_seq": first + 1})
    ranges = [{"from_seq": seq, "to_seq": seq} for seq in (2, 4, 6)]
    pages: list[tuple[dict[str, int], list[Any]]] = [
        ({}, ranges),
        ({"from_seq": 2, "limit": 2}, ranges[:1]),
        ({"from_seq": 3, "limit": 1}, []),
        ({"from_seq": -1}, ranges[2:]),
        ({"before_seq": 5}, ranges[:2]),
        ({"from_seq": 7}, []),
    ]
    for query, expected in pages:
        assert (await context.read("messages", **query)).json()["undone"] == expected


async def test_a_summary_goes_with_the_last_message_that_it_stands_for(context: Context) -> None:
    await context.say("a", "b", "c")
    await context.compact({"replacement": [said("summary", tokens=5)]})
    await context.say("d", tokens=1)
    await context.undo({"from_seq": 2})
    window = await context.window()
    assert (texts(window["messages"]), window["used_tokens"]) == (["summary"], 5)
    assert window["segments"] == [{"type": "summary", "from_seq": 1, "to_seq": 3}]
    await context.undo({"from_seq": 1})
    window = await context.window()
    assert (window["messages"], window["used_tokens"]) == ([], 0)

    await context.compact({"replacement": [said("be kind")]})
    await context.say("e")
    await context.undo({"from_seq": 5})
    assert texts((await context.window())["messages"]) == ["be kind"]


async def test_of_many_undos_with_one_version_one_wins(context: Context) -> None:
    await context.say("a", "b")
    answers = await asyncio.gather(
        *(context.undo({"from_seq": 2, "if_version": 1}) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    lost = next(answer for answer in answers if answer.status_code == 409)
    assert is_problem(lost, 409, "conflict")["version"] == 2


async def test_a_retry_gets_the_first_answer_and_takes_nothing_more(context: Context) -> None:
    key = {"Idempotency-Key": "undo it"}
    await context.say("a", "b")
    first = await context.undo({"from_seq": 2}, headers=key)
    await context.say("c")
    again = await context.undo({"from_seq": 2}, headers=key)
    assert again.json() == first.json() == {"version": 2, "undone": 1, "from_seq": 2, "to_seq": 2}
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert await tail(context) == ["a", "c"]
    is_problem(await context.undo({"from_seq": 1}, headers=key), 422, "idempotency_key_reused")


async def test_an_append_that_was_undone_is_known_still(context: Context) -> None:
    key = {"Idempotency-Key": "say it"}
    first = await context.post({"message": said("a")}, headers=key)
    await context.undo({"from_seq": 1})
    again = await context.post({"message": said("a")}, headers=key)
    assert again.json() == first.json()
    assert await tail(context) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "from_seq"),
        ({"from_seq": 0}, "from_seq"),
        ({"from_seq": -1}, "from_seq"),
        ({"from_seq": "1"}, "from_seq"),
        ({"from_seq": 1.5}, "from_seq"),
        ({"from_seq": None}, "from_seq"),
        ({"from_seq": 1, "to_seq": 2}, "to_seq"),
        ({"from_seq": 1, "if_version": -1}, "if_version"),
    ],
)
async def test_a_bad_undo_is_refused_by_its_field(context: Context, body: Any, field: str) -> None:
    is_problem(await context.undo(body), 400, "invalid_request", field)


async def test_nothing_is_undone_where_there_is_no_context_or_it_is_closed(
    unknown: Context,
) -> None:
    is_problem(await unknown.undo({"from_seq": 1}), 404, "not_found")
    await unknown.put()
    await unknown.say("a")
    await unknown.delete()
    is_problem(await unknown.undo({"from_seq": 1}), 409, "tombstoned")
    assert await tail(unknown) == ["a"]

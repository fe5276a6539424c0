"""GET /v1/contexts: every context, in the order of the bytes of their ids."""

import uuid

import httpx
import pytest

from tests.support.contexts import Context, is_problem


@pytest.fixture
def family() -> str:
    """What the ids of this test's contexts begin with."""
    return f"list {uuid.uuid4().hex} "


async def listed(client: httpx.AsyncClient, **query: str | int) -> tuple[list[str], str | None]:
    answer = await client.get("/v1/contexts", params=query)
    assert answer.status_code == 200, answer.text
    return [context["id"] for context in answer.json()["contexts"]], answer.json()["next"]


async def make(client: httpx.AsyncClient, *ids: str) -> None:
    for name in ids:
        assert (await Context(client, name).put()).status_code == 201


async def test_each_is_listed_as_get_shows_it(client: httpx.AsyncClient, family: str) -> None:
    context = Context(client, f"{family}one")
    await context.put({"metadata": {"team": "a"}})
    await context.say("hello")
    answer = await client.get("/v1/contexts", params={"prefix": family})
    assert answer.json() == {"contexts": [await context.get()], "next": None}


async def test_pages_follow_each_other_without_a_gap(
    client: httpx.AsyncClient, family: str
) -> None:
    # Astral before private use would be the order of UTF-16, not of bytes.
    names = [f"{family}{name}" for name in ("a", "a b", "b", "ß", "�", "😀")]
    await make(client, *reversed(names))
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page, more = await listed(client, prefix=family, limit=2, **after)
        assert len(page) <= 2
        seen += page
        if more is None:
            break
        assert more == page[-1]
        after = {"after": more}
    assert seen == names


async def test_a_last_page_that_is_full_has_no_next(client: httpx.AsyncClient, family: str) -> None:
    await make(client, f"{family}a", f"{family}b")
    assert await listed(client, prefix=family, limit=2) == ([f"{family}a", f"{family}b"], None)


async def test_after_need_not_exist_and_may_lie_outside(
    client: httpx.AsyncClient, family: str
) -> None:
    await make(client, f"{family}b")
    assert await listed(client, prefix=family, after=f"{family}a") == ([f"{family}b"], None)
    assert await listed(client, prefix=family, after="!") == ([f"{family}b"], None)
    assert await listed(client, prefix=family, after=f"{family}b") == ([], None)


async def test_what_is_deleted_is_still_listed(client: httpx.AsyncClient, family: str) -> None:
    context = Context(client, f"{family}gone")
    await context.put()
    await context.delete()
    answer = await client.get("/v1/contexts", params={"prefix": family})
    assert [c["status"] for c in answer.json()["contexts"]] == ["tombstoned"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"prefix": "x" * 513}, "prefix"),
        ({"after": "ß" * 257}, "after"),
        ({"befor": "a"}, "befor"),
    ],
)
async def test_bad_parameters_are_named(
    client: httpx.AsyncClient, query: dict[str, str], field: str
) -> None:
    is_problem(await client.get("/v1/contexts", params=query), 400, "invalid_request", field)

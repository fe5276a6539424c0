"""PUT, GET and DELETE a context; PATCH its metadata."""

import re

import pytest

from tests.support.contexts import Context, is_problem, said

FIELDS = {
    "id",
    "status",
    "token_budget",
    "trigger_ratio",
    "policy",
    "encoding",
    "metadata",
    "version",
    "last_seq",
    "archived_seq",
    "used_tokens",
    "needs_compaction",
    "created_at",
    "updated_at",
}


async def test_put_creates_with_the_defaults_then_updates(unknown: Context) -> None:
    created = await unknown.put()
    assert created.status_code == 201
    body = created.json()
    assert body.keys() == FIELDS
    assert body["id"] == unknown.id
    assert (body["status"], body["version"], body["last_seq"]) == ("active", 0, 0)
    assert (body["token_budget"], body["trigger_ratio"]) == (8192, 0.7)
    assert body["policy"] == {"strategy": "last_n", "config": {"limit": 400}}
    assert (body["encoding"], body["metadata"]) == ("o200k_base", {})
    assert (body["used_tokens"], body["needs_compaction"]) == (0, False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["created_at"])

    updated = await unknown.put({"token_budget": 100})
    assert updated.status_code == 200
    assert updated.json()["token_budget"] == 100
    assert updated.json() == await unknown.get()


async def test_an_empty_body_is_an_empty_object(unknown: Context) -> None:
    assert (await unknown.client.put(unknown.path)).status_code == 201


async def test_what_a_put_leaves_out_keeps_its_value(unknown: Context) -> None:
    settings = {
        "token_budget": 500,
        "trigger_ratio": 1,
        "policy": {"strategy": "skip_parts", "config": {"skip_kinds": ["tool"], "limit": 3}},
        "metadata": {"a": 1},
        "encoding": "approximate",
    }
    await unknown.put(settings)
    await unknown.put({"token_budget": 501})
    assert (await unknown.get()).items() >= (settings | {"token_budget": 501}).items()


async def test_null_means_left_out(context: Context) -> None:
    await context.put({"metadata": {"a": 1}, "token_budget": 77})
    nulls = dict.fromkeys(["token_budget", "trigger_ratio", "policy", "metadata", "encoding"])
    assert (await context.put(nulls)).status_code == 200
    assert (await context.get()).items() >= {"metadata": {"a": 1}, "token_budget": 77}.items()


async def test_a_put_moves_no_version_and_rebuilds_no_window(context: Context) -> None:
    await context.say("a", "b", "c")
    policy = {"strategy": "last_n", "config": {"limit": 1}}
    answer = await context.put({"policy": policy})
    assert answer.json()["version"] == 1
    assert len((await context.window())["messages"]) == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"token_budget": 0}, "token_budget"),
        ({"token_budget": 100_000_001}, "token_budget"),
        ({"token_budget": "8192"}, "token_budget"),
        ({"token_budget": True}, "token_budget"),
        ({"trigger_ratio": 0}, "trigger_ratio"),
        ({"trigger_ratio": 1.01}, "trigger_ratio"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "x"}, "metadata"),
        ({"encoding": "gpt2"}, "encoding"),
        ({"token_budgets": 1}, "token_budgets"),
        ({"policy": {"strategy": "first_n", "config": {}}}, "policy.strategy"),
        ({"policy": {"strategy": "last_n"}}, "policy.config"),
        ({"policy": {"strategy": "last_n", "config": {"limit": 0}}}, "policy.config.limit"),
        ({"policy": {"strategy": "manual", "config": {"x": 1}}}, "policy.config.x"),
        ({"policy": {"strategy": "manual", "more": 1}}, "policy.more"),
        ({"policy": {"config": {"limit": 1}}}, "policy.strategy"),
    ],
)
async def test_a_bad_setting_is_refused_by_its_name(
    unknown: Context, body: dict[str, object], field: str
) -> None:
    is_problem(await unknown.put(body), 400, "invalid_request", field)
    assert (await unknown.client.get(unknown.path)).status_code == 404


async def test_metadata_come_back_to_the_letter(unknown: Context) -> None:
    sent = b'{"z":1.0,"a":1e2,"\\u0041":"\\u00e9\\u0000","big":123456789012345678901234567890}'
    answer = await unknown.client.put(unknown.path, content=b'{"metadata":%b}' % sent)
    assert sent in answer.content
    assert sent in (await unknown.client.get(unknown.path)).content


async def test_patch_merges_top_level_keys_and_takes_nulls_away(context: Context) -> None:
    await context.put({"metadata": {"a": {"x": 1}, "b": 2, "c": 3}})
    answer = await context.patch({"metadata": {"a": {"y": 2}, "b": None, "d": 4, "never": None}})
    assert answer.status_code == 200
    assert answer.json()["metadata"] == {"a": {"y": 2}, "c": 3, "d": 4}
    assert answer.json() == await context.get()
    assert answer.json()["version"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "metadata"), ({"metadata": None}, "metadata"), ({"metadata": {}, "x": 1}, "x")],
)
async def test_a_bad_patch_is_refused(
    context: Context, body: dict[str, object], field: str
) -> None:
    is_problem(await context.patch(body), 400, "invalid_request", field)


async def test_metadata_that_outgrow_a_head_are_too_large(context: Context) -> None:
    large = {"metadata": {"x": "y" * (64 << 10)}}
    is_problem(await context.put(large), 413, "too_large")
    is_problem(await context.patch(large), 413, "too_large")


async def test_a_deleted_context_is_closed_but_stays_readable(context: Context) -> None:
    await context.say("a", "b")
    answer = await context.delete()
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await context.delete()).status_code == 204

    for refused in (
        await context.put({}),
        await context.patch({"metadata": {}}),
        await context.post({"message": said("c")}),
        await context.compact({"replacement": []}),
    ):
        is_problem(refused, 409, "tombstoned")
    assert (await context.get())["status"] == "tombstoned"
    for noun in ("tail", "messages", "context"):
        assert len((await context.read(noun)).json()["messages"]) == 2


async def test_an_unknown_context_is_not_found_on_every_route(unknown: Context) -> None:
    for answer in (
        await unknown.client.get(unknown.path),
        await unknown.delete(),
        await unknown.patch({"metadata": {}}),
        await unknown.post({"message": said("a")}),
        await unknown.compact({"replacement": []}),
        await unknown.read("tail"),
        await unknown.read("messages"),
        await unknown.read("context"),
        await unknown.read("context", min_version=1),
    ):
        is_problem(answer, 404, "not_found")
    assert (await unknown.client.get(unknown.path)).status_code == 404

"""Many clients at once on one context of a live node: one order explains what each was answered."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from streams.log_writer import partition_of
from tests.support.contexts import Context, Json, is_problem, said, texts
from tests.support.deployment import Deployment
from tests.support.live_node import LiveNode, live_node
from tests.support.race import Exchange, Recorder, explained

WRITERS = 50
ROUNDS = 5
APPENDS = 500
RETRIES = 20
RACERS = 12
STEPS = 25
CLOSING = 20
"""The step from which on a racer may delete the context."""


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("concurrency"), kafka, postgres_url) as node:
        yield node


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def unknown(node: LiveNode, recorder: Recorder) -> AsyncIterator[Context]:
    """A context that nobody has made."""
    async with httpx.AsyncClient(transport=recorder, base_url=node.url, timeout=60) as client:
        yield Context(client, f"raced {uuid.uuid4().hex}")


@pytest.fixture
async def context(unknown: Context) -> Context:
    assert (await unknown.put()).status_code == 201
    return unknown


def judge(node: LiveNode, context: Context, exchanges: list[Exchange], scratch: Path) -> None:
    """Assert that the log explains all of it."""
    deployment = Deployment(node.told["kafka"], node.told["prefix"], scratch)
    partition = partition_of(context.id, node.settings.partitions)
    explained(context.id, exchanges, deployment.read(deployment.topics.log, partition))


async def test_of_writers_with_one_if_version_one_wins(context: Context) -> None:
    """Appends and compactions alike, one round after the other."""
    for version in range(ROUNDS):
        answers = await asyncio.gather(
            *(
                context.post({"message": said(f"writer {n}"), "if_version": version})
                if n % 2 == version % 2
                else context.compact({"replacement": [said("all")], "if_version": version})
                for n in range(WRITERS)
            )
        )
        won = [answer for answer in answers if answer.status_code < 400]
        assert [answer.json()["version"] for answer in won] == [version + 1]
        for answer in answers:
            if answer not in won:
                problem = is_problem(answer, 409, "conflict")
                assert problem["version"] == version + 1
                assert f"is {version}," in problem["message"]
                assert f"at version {version + 1};" in problem["message"]
    assert (await context.get())["version"] == ROUNDS


async def test_concurrent_appends_get_every_seq_once(context: Context) -> None:
    answers = await asyncio.gather(
        *(context.post({"message": said(f"message {n}")}) for n in range(APPENDS))
    )
    assert Counter(answer.status_code for answer in answers) == {201: APPENDS}
    promised = {answer.json()["seq"]: f"message {n}" for n, answer in enumerate(answers)}
    assert sorted(promised) == list(range(1, APPENDS + 1))
    assert all(answer.json()["version"] == answer.json()["seq"] for answer in answers)

    page = (await context.read("messages", limit=1000)).json()
    assert [message["seq"] for message in page["messages"]] == list(range(1, APPENDS + 1))
    assert texts(page["messages"]) == [promised[seq] for seq in range(1, APPENDS + 1)]
    assert (page["version"], page["last_seq"], page["next_seq"]) == (APPENDS, APPENDS, None)


@pytest.mark.parametrize(
    ("write", "status", "version"),
    [
        (lambda context, **options: context.put({"token_budget": 9}, **options), 201, 0),
        (lambda context, **options: context.post({"message": said("a")}, **options), 201, 1),
        (lambda context, **options: context.post({"messages": [said("a")] * 3}, **options), 201, 1),
        (lambda context, **options: context.compact({"replacement": []}, **options), 200, 1),
        (lambda context, **options: context.undo({"from_seq": 1}, **options), 200, 0),
        (lambda context, **options: context.patch({"metadata": {"a": 1}}, **options), 200, 0),
    ],
    ids=["put", "append", "append several", "compact", "undo", "patch"],
)
async def test_one_key_sent_many_times_at_once_is_one_write(
    unknown: Context, write: Callable[..., Any], status: int, version: int
) -> None:
    creates = status == 201 and version == 0
    if not creates:
        await unknown.put()
    key = {"Idempotency-Key": "the one"}
    answers = await asyncio.gather(*(write(unknown, headers=key) for _ in range(RETRIES)))
    assert {answer.status_code for answer in answers} == {status}
    assert len({answer.content for answer in answers}) == 1, "all get the same answer"
    replayed = Counter(answer.headers.get("Idempotent-Replayed") for answer in answers)
    assert replayed == {None: 1, "true": RETRIES - 1}
    assert {answer.headers["Idempotency-Key"] for answer in answers} == {"the one"}
    assert (await unknown.get())["version"] == version


async def test_of_many_bodies_under_one_key_one_is_written(context: Context) -> None:
    key = {"Idempotency-Key": "the one"}
    answers = await asyncio.gather(
        *(context.post({"message": said(f"body {n}")}, headers=key) for n in range(RETRIES))
    )
    won = [n for n, answer in enumerate(answers) if answer.status_code == 201]
    assert len(won) == 1
    for n, answer in enumerate(answers):
        if n not in won:
            is_problem(answer, 422, "idempotency_key_reused")
    assert texts((await context.read("tail")).json()["messages"]) == [f"body {won[0]}"]


async def test_of_many_puts_one_creates_and_every_delete_succeeds(unknown: Context) -> None:
    puts = await asyncio.gather(*(unknown.put() for _ in range(RETRIES)))
    assert Counter(answer.status_code for answer in puts) == {201: 1, 200: RETRIES - 1}
    deletes = await asyncio.gather(*(unknown.delete() for _ in range(RETRIES)))
    assert Counter(answer.status_code for answer in deletes) == {204: RETRIES}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_log_explains_every_answer_of_a_race(
    node: LiveNode, unknown: Context, recorder: Recorder, tmp_path: Path, seed: int
) -> None:
    """Nobody has made the context when it begins, and somebody deletes it before the end."""
    numbers = count()
    await asyncio.gather(
        *(race(unknown, random.Random(seed * RACERS + n), numbers) for n in range(RACERS))
    )
    for noun in ("context", "tail", "messages"):
        await unknown.read(noun)
    await unknown.get()
    judge(node, unknown, recorder.exchanges, tmp_path)

    codes = Counter(answered(exchange) for exchange in recorder.exchanges)
    for code in (200, 201, 204, "not_found", "conflict", "tombstoned"):
        assert codes[code], f"no race without it: {code}"
    assert codes.keys() <= {200, 201, 204, "not_found", "conflict", "tombstoned"}


def answered(exchange: Exchange) -> int | str:
    answer = exchange.answer
    return answer.status if answer.body is None else answer.body.get("error", answer.status)


async def race(context: Context, dice: random.Random, numbers: Iterator[int]) -> None:
    """One client: it takes the version that it saw last for the newest."""
    version = 0
    for step in range(STEPS):
        await asyncio.sleep(0)
        write = dice.choice(WRITES) if step < CLOSING or dice.random() < 0.9 else delete
        answer = await write(context, dice, next(numbers), version)
        if answer.content:
            version = answer.json().get("version", version)


async def append(context: Context, dice: random.Random, number: int, version: int) -> Any:
    return await context.post(
        {"message": a_message(dice, number)} | perhaps(dice, if_version=version)
    )


async def append_several(context: Context, dice: random.Random, number: int, version: int) -> Any:
    messages = [a_message(dice, number) for _ in range(dice.randint(1, 4))]
    return await context.post({"messages": messages} | perhaps(dice, if_version=version))


async def compact(context: Context, dice: random.Random, number: int, version: int) -> Any:
    replacement = [a_message(dice, number) for _ in range(dice.randint(0, 3))]
    return await context.compact({"replacement": replacement} | perhaps(dice, if_version=version))


async def undo(context: Context, dice: random.Random, number: int, version: int) -> Any:
    back = {"from_seq": max(1, number // 3 - dice.randint(0, 9))}
    return await context.undo(back | perhaps(dice, if_version=version))


async def patch(context: Context, dice: random.Random, number: int, version: int) -> Any:
    return await context.patch({"metadata": {dice.choice("abc"): dice.choice((None, number))}})


async def put(context: Context, dice: random.Random, number: int, version: int) -> Any:
    return await context.put(
        perhaps(dice, token_budget=dice.randint(20, 300))
        | perhaps(dice, trigger_ratio=dice.choice((0.3, 0.7, 1)))
        | perhaps(dice, policy=dice.choice(POLICIES))
        | perhaps(dice, encoding=dice.choice(("o200k_base", "cl100k_base", "approximate")))
        | perhaps(dice, metadata={"put": number})
    )


async def delete(context: Context, dice: random.Random, number: int, version: int) -> Any:
    return await context.delete()


async def look(context: Context, dice: random.Random, number: int, version: int) -> Any:
    match dice.choice(("", "context", "tail", "messages")):
        case "":
            return await context.client.get(context.path)
        case "context":
            return await context.read("context", **perhaps(dice, budget_tokens=dice.randint(1, 99)))
        case "tail":
            return await context.read("tail", limit=dice.randint(1, 9), offset=dice.randint(0, 9))
        case noun:
            return await context.read(noun, from_seq=dice.choice((1, 5, -3)), limit=5)


WRITES = (append, append, append, append_several, compact, undo, patch, put, look, look, look)
POLICIES = (
    {"strategy": "last_n", "config": {"limit": 5}},
    {"strategy": "skip_parts", "config": {"skip_kinds": ["tool"]}},
    {"strategy": "manual"},
)


def a_message(dice: random.Random, number: int) -> Json:
    """Some are counted by their sender, some by us."""
    message = said(f"number {number} " * dice.randint(1, 9), tokens=dice.choice((None, None, 7)))
    if dice.random() < 0.3:
        message["parts"].insert(0, {"type": "tool_result", "value": [number]})
    return message


def perhaps(dice: random.Random, **field: Any) -> Json:
    """The field, or nothing."""
    return field if dice.random() < 0.5 else {}

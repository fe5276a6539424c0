"""Keys and limits: who is let in, and how often."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from api.access import AccessRules
from api.app import make_api
from rewindow.settings import NodeSettings
from streams import encodings
from tests.support.contexts import Context, is_problem
from tests.support.memory_store import MemoryStore
from tests.support.wait import until_async

Ask = Callable[[AccessRules], httpx.AsyncClient]


@pytest.fixture
async def guarded() -> AsyncIterator[Ask]:
    """A client of an API with rules of its own."""
    clients: list[httpx.AsyncClient] = []

    def make(rules: AccessRules) -> httpx.AsyncClient:
        api = make_api(MemoryStore(encodings.measure), encodings.measure, access=rules)
        transport = httpx.ASGITransport(api)
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://memory"))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


def bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


async def test_one_of_the_keys_is_wanted_everywhere_but_for_health(guarded: Ask) -> None:
    client = guarded(AccessRules(keys=("one", "two")))
    for headers in ({}, bearer("three"), bearer("one", "Basic"), bearer(""), bearer("one two")):
        for method, path in (
            ("GET", "/v1/contexts"),
            ("PUT", "/v1/contexts/c"),
            ("GET", "/v1/contexts/c/context"),
            ("GET", "/metrics"),
            ("GET", "/internal/digests"),
            ("GET", "/nothing"),
        ):
            answer = await client.request(method, path, headers=headers)
            is_problem(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    for key in ("one", "two"):
        for scheme in ("Bearer", "bearer"):
            answer = await client.get("/v1/contexts", headers=bearer(key, scheme))
            assert answer.status_code == 200
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).status_code == 200


async def test_a_write_that_is_refused_at_the_door_has_its_key_back(guarded: Ask) -> None:
    client = guarded(AccessRules(keys=("one",)))
    answer = await client.put("/v1/contexts/c", headers={"Idempotency-Key": "mine"})
    assert answer.headers["Idempotency-Key"] == "mine"
    answer = await client.put("/v1/contexts/c", headers={"Idempotency-Key": "x" * 201})
    assert answer.headers["Idempotency-Key"].isalnum()
    assert len(answer.headers["Idempotency-Key"]) < 201
    assert "Idempotency-Key" not in (await client.get("/v1/contexts/c")).headers


async def test_a_path_does_not_become_open_by_its_looks(guarded: Ask) -> None:
    client = guarded(AccessRules(keys=("one",)))
    for path in ("/health%2F../v1/contexts", "//health/live", "/v1/contexts/%2Fhealth%2F"):
        assert (await client.get(path)).status_code == 401


async def test_a_key_beyond_ascii_is_refused_not_a_bug(guarded: Ask) -> None:
    client = guarded(AccessRules(keys=("schlüssel",)))
    answer = await client.get("/v1/contexts", headers=[(b"Authorization", b"Bearer \xff")])
    is_problem(answer, 401, "unauthorized")
    sent = [(b"Authorization", "Bearer schlüssel".encode())]
    assert (await client.get("/v1/contexts", headers=sent)).status_code == 200


async def test_each_key_has_a_limit_of_its_own(guarded: Ask) -> None:
    client = guarded(AccessRules(keys=("one", "two"), rate_limit=3))
    asked = [client.get("/v1/contexts", headers=bearer("one")) for _ in range(50)]
    answers = await asyncio.gather(*asked)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 3 <= 50 - len(refused) < 50
    for answer in refused:
        assert is_problem(answer, 429, "rate_limited")["retry_after"] == 1
        assert answer.headers["Retry-After"] == "1"
    assert (await client.get("/v1/contexts", headers=bearer("two"))).status_code == 200
    assert (await client.get("/health/live")).status_code == 200


async def test_who_waits_is_let_in_again(guarded: Ask) -> None:
    client = guarded(AccessRules(rate_limit=1))
    assert (await Context(client, "c").put()).status_code == 201
    assert (await client.get("/v1/contexts/c")).status_code == 429

    async def let_in() -> bool:
        return (await client.get("/v1/contexts/c")).status_code == 200

    await until_async(let_in, "a second has passed")


async def test_without_rules_everybody_may_ask(guarded: Ask) -> None:
    client = guarded(AccessRules())
    answers = [(await client.get("/v1/contexts")).status_code for _ in range(50)]
    assert set(answers) == {200}


def test_keys_are_separated_by_commas_and_are_not_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REWINDOW_API_KEYS", " k-1, ,k-2 ,")
    monkeypatch.setenv("REWINDOW_RATE_LIMIT", "5")
    settings = NodeSettings()
    assert settings.access() == AccessRules(keys=("k-1", "k-2"), rate_limit=5)
    assert "k-1" not in repr(settings)

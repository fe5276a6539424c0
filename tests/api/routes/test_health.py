"""Ready or not, and why."""

import httpx

from streams.store import Health
from tests.support.contexts import is_problem
from tests.support.memory_store import MemoryStore


async def test_not_ready_says_which_part_is_not(
    client: httpx.AsyncClient, store: MemoryStore
) -> None:
    store.report = Health(("the broker is gone", "partition 2 is catching up"), ("no archive",))
    answer = await client.get("/health/ready")
    body = is_problem(answer, 503, "unavailable")
    assert body["problems"] == list(store.report.problems)
    assert "the broker is gone" in body["message"]
    assert (answer.headers["Retry-After"], body["retry_after"]) == ("1", 1)
    assert (await client.get("/health/live")).status_code == 200


async def test_notes_do_not_make_a_node_unready(
    client: httpx.AsyncClient, store: MemoryStore
) -> None:
    store.report = Health((), ("the archive is behind",))
    answer = await client.get("/health/ready?probe=1")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "notes": ["the archive is behind"]}

"""Pages are joined out of stored bytes; a hole is never served."""

import pytest

from tests.support.contexts import Context, is_problem
from tests.support.memory_store import MemoryStore


async def test_stored_bytes_are_served_as_they_are(
    context: Context, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await context.say("a", "b")

    async def not_even_json(_context_id: str, *_page: int) -> list[bytes]:
        return [b"<1>", b"<2>"]

    monkeypatch.setattr(store, "messages", not_even_json)
    monkeypatch.setattr(store, "tail", not_even_json)
    assert (await context.read("tail")).content == b'{"messages":[<1>,<2>]}'
    assert (await context.read("messages")).content == (
        b'{"messages":[<1>,<2>],"version":1,"last_seq":2,"next_seq":null,"undone":[]}'
    )


async def test_a_hole_is_an_error_of_ours(
    context: Context, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await context.say("a", "b")

    async def hole(*_page: object) -> list[bytes]:
        raise AssertionError("message 2 is missing")

    monkeypatch.setattr(store, "messages", hole)
    is_problem(await context.read("messages"), 500, "internal")

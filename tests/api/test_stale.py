"""While the broker is away, reads say that they may be old."""

import httpx

from api.app import make_api
from streams import encodings
from streams.store import Health
from tests.support.contexts import Context
from tests.support.memory_store import MemoryStore


async def test_reads_are_marked_while_the_broker_is_away() -> None:
    store = MemoryStore(encodings.measure)
    transport = httpx.ASGITransport(make_api(store, encodings.measure))
    async with httpx.AsyncClient(transport=transport, base_url="http://memory") as client:
        context = Context(client, "c")
        await context.put()
        for away in (False, True):
            store.report = Health(problems=("the broker is gone",) if away else (), stale=away)
            marks = [
                (await client.get(f"/v1/contexts{path}")).headers.get("Rewindow-Stale")
                for path in ("", "/c", "/c/context", "/c/tail", "/c/messages", "/nobody")
            ]
            assert marks == ["true" if away else None] * 6
            assert "Rewindow-Stale" not in (await context.say("a") and await context.put()).headers

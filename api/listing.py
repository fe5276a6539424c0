"""The contexts of all nodes, as one list."""

import asyncio
import time
from collections.abc import Sequence
from heapq import merge
from typing import Final

import msgspec
from msgspec import Raw, Struct

from api.neighbours import Neighbours
from streams.core.view import context_json
from streams.store import Moved, Store

AGAIN_S: Final = 0.1
PARTITIONS: Final = "Rewindow-Partitions"
"""On a page of one node alone: the partitions that it is of, separated by commas."""


class Listed(Struct, frozen=True):
    """A context's id and its JSON."""

    id: str
    json: bytes


class _Id(Struct):
    id: str


class _Pages(Struct):
    contexts: list[Raw]


_pages = msgspec.json.Decoder(_Pages)
_ids = msgspec.json.Decoder(_Id)


class Listing:
    """`patience_s`: how long partitions that move from one node to another are waited for."""

    def __init__(self, store: Store, neighbours: Neighbours, patience_s: float) -> None:
        self._store = store
        self._neighbours = neighbours
        self._patience_s = patience_s

    async def here(self, prefix: str, after: str | None, limit: int) -> list[Listed]:
        """A page of this node's contexts."""
        found = await self._store.contexts(prefix, after, limit)
        return [Listed(context_id, context_json(context_id, head)) for context_id, head in found]

    async def everywhere(
        self, prefix: str, after: str | None, limit: int, key: str | None
    ) -> list[Listed]:
        """A page of the contexts of all nodes, `key` being what the client identified itself with.

        Raises `Moved` where some partition is nowhere for too long.
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            census = self._store.census()
            # Which partitions are here is asked before they are read, and on the same step.
            asked = [self._of(url, prefix, after, limit, key) for url in census.others]
            here = await self.here(prefix, after, limit)
            pages = [(census.here, here), *await asyncio.gather(*asked)]
            seen = frozenset[int]().union(*(partitions for partitions, _ in pages))
            if seen == census.all:
                # A partition that moved in the meantime may have been read twice.
                merged = merge(*(page for _, page in pages), key=lambda listed: listed.id.encode())
                return list({listed.id: listed for listed in merged}.values())[:limit]
            if time.monotonic() > deadline:
                missing = ", ".join(map(str, sorted(census.all - seen)))
                raise Moved(f"partitions {missing} are on no node now; ask again")
            await asyncio.sleep(AGAIN_S)

    async def _of(
        self, url: str, prefix: str, after: str | None, limit: int, key: str | None
    ) -> tuple[frozenset[int], Sequence[Listed]]:
        """The same page of another node; none of no partition where it does not answer."""
        query = {"prefix": prefix, "limit": str(limit)}
        if after is not None:
            query["after"] = after
        page = await self._neighbours.page(url, "/v1/contexts", query, key)
        if page is None:
            return frozenset(), ()
        listed = [
            Listed(_ids.decode(one).id, bytes(one)) for one in _pages.decode(page.body).contexts
        ]
        here = page.headers.get(PARTITIONS, "")
        return frozenset(int(partition) for partition in here.split(",") if partition), listed

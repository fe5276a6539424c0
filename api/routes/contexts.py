"""Contexts themselves: listed, made, read, changed, closed."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import requests
from api.asking import ask, existing, unanswered
from api.bodies import configure_body, patch_body
from api.listing import PARTITIONS, Listed, Listing
from api.neighbours import PASSED_ON, has
from api.routing import json_response, reads, resource, writes
from schemas.events import ContextTombstoned
from schemas.limits import PAGE_CONTEXTS_MAX
from streams.core.outcome import Configured, Patched, Tombstoned
from streams.core.view import context_json
from streams.store import Answered, Store

LISTED_DEFAULT: Final = 50


class ContextRoutes:
    """List contexts; PUT, GET and DELETE a context; PATCH its metadata."""

    def __init__(self, store: Store, listing: Listing) -> None:
        self._store = store
        self._listing = listing

    def routes(self) -> list[Route]:
        """What is served where."""
        path = "/v1/contexts/{id}"
        return [
            resource("/v1/contexts", GET=reads(self._list, query=("prefix", "limit", "after"))),
            resource(
                path,
                GET=reads(self._get, query=()),
                PUT=writes(self._put),
                DELETE=writes(self._delete),
            ),
            resource(f"{path}/metadata", PATCH=writes(self._patch)),
        ]

    async def _get(self, request: Request) -> Response:
        context_id = requests.context_id(request)
        return json_response(context_json(context_id, await existing(self._store, context_id)))

    async def _list(self, request: Request) -> Response:
        prefix = requests.text(request, "prefix") or ""
        after = requests.text(request, "after")
        if has(request.headers.raw, PASSED_ON):
            return await self._list_here(request, prefix, after)
        limit = requests.number(request, "limit", LISTED_DEFAULT, least=1, most=PAGE_CONTEXTS_MAX)
        key = request.headers.get("Authorization")
        found = await self._listing.everywhere(prefix, after, limit + 1, key)
        last = found[limit - 1].id if len(found) > limit else None
        return _page(found[:limit], last)

    async def _list_here(self, request: Request, prefix: str, after: str | None) -> Response:
        """For another node, which puts the pages of all together; it asks for one more."""
        limit = requests.number(request, "limit", LISTED_DEFAULT, most=PAGE_CONTEXTS_MAX + 1)
        here = self._store.census().here
        response = _page(await self._listing.here(prefix, after, limit), None)
        response.headers[PARTITIONS] = ",".join(map(str, sorted(here)))
        return response

    async def _put(self, request: Request, key: str) -> Response:
        context_id = requests.context_id(request)
        data = await requests.body(request, configure_body)
        answered = await ask(self._store, context_id, key, data)
        match answered.outcome:
            case Configured(created=created, replayed=replayed):
                return _context(context_id, answered, 201 if created else 200, replayed=replayed)
            case other:
                raise unanswered(other)

    async def _patch(self, request: Request, key: str) -> Response:
        context_id = requests.context_id(request)
        data = await requests.body(request, patch_body)
        await existing(self._store, context_id)
        answered = await ask(self._store, context_id, key, data)
        match answered.outcome:
            case Patched(replayed=replayed):
                return _context(context_id, answered, 200, replayed=replayed)
            case other:
                raise unanswered(other)

    async def _delete(self, request: Request, key: str) -> Response:
        context_id = requests.context_id(request)
        await existing(self._store, context_id)
        answered = await ask(self._store, context_id, key, ContextTombstoned())
        match answered.outcome:
            case Tombstoned():
                return Response(status_code=204)
            case other:
                raise unanswered(other)


def _page(listed: list[Listed], after: str | None) -> Response:
    contexts = b",".join(one.json for one in listed)
    return json_response(b'{"contexts":[%b],"next":%b}' % (contexts, msgspec.json.encode(after)))


def _context(context_id: str, answered: Answered, status: int, *, replayed: bool) -> Response:
    assert answered.head is not None, "an accepted event leaves a head"
    return json_response(context_json(context_id, answered.head), status, replayed=replayed)

"""Contexts themselves: listed, made, read, changed, closed."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import requests
from api.asking import ask, existing, unanswered
from api.bodies import configure_body, patch_body
from api.routing import json_response, reads, resource, writes
from schemas.events import ContextTombstoned
from schemas.limits import PAGE_CONTEXTS_MAX
from streams.core.outcome import Configured, Patched, Tombstoned
from streams.core.view import context_json
from streams.store import Answered, Store

LISTED_DEFAULT: Final = 50


class ContextRoutes:
    """List contexts; PUT, GET and DELETE a context; PATCH its metadata."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
        limit = requests.number(request, "limit", LISTED_DEFAULT, least=1, most=PAGE_CONTEXTS_MAX)
        found = await self._store.contexts(prefix, after, limit + 1)
        listed = [context_json(context_id, head) for context_id, head in found[:limit]]
        last = found[limit - 1][0] if len(found) > limit else None
        return json_response(
            b'{"contexts":[%b],"next":%b}' % (b",".join(listed), msgspec.json.encode(last))
        )

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


def _context(context_id: str, answered: Answered, status: int, *, replayed: bool) -> Response:
    assert answered.head is not None, "an accepted event leaves a head"
    return json_response(context_json(context_id, answered.head), status, replayed=replayed)

"""Whether the process lives, and whether it can serve."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.problems import Problem
from api.routing import json_response, reads, resource
from streams.store import Store


class HealthRoutes:
    """GET /health/live, GET /health/ready."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """What is served where."""
        return [
            resource("/health/live", GET=reads(self._live)),
            resource("/health/ready", GET=reads(self._ready)),
        ]

    async def _live(self, _request: Request) -> Response:
        return json_response(b'{"status":"ok"}')

    async def _ready(self, _request: Request) -> Response:
        health = self._store.health()
        if health.problems:
            raise Problem(
                "unavailable",
                f"not ready, ask again: {'; '.join(health.problems)}",
                problems=health.problems,
                retry_after=1,
            )
        return json_response(msgspec.json.encode({"status": "ready", "notes": health.notes}))

"""The short way to the routes of contexts, which is where nearly every request goes.

FastAPI tries one route after the other, and wraps each request four times over. Here two looks into
a dictionary do, for whatever can be told by the path's end and the method; all else, refusals by
the framework and websockets too, goes the long way.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.routing import CONTEXTS

ASGI = Callable[[Any, Any, Any], Awaitable[None]]

PATTERN: Final = f"{CONTEXTS}{{id}}"


class Dispatch:
    """Stands before `app`, which has the same routes."""

    def __init__(self, app: ASGI, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._routes = {
            route.path[len(PATTERN) :]: route
            for route in routes
            if isinstance(route, Route) and route.path.startswith(PATTERN)
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"].startswith(CONTEXTS):
            context_id, slash, rest = scope["path"][len(CONTEXTS) :].partition("/")
            route = self._routes.get(slash + rest)
            if context_id and route is not None and scope["method"] in (route.methods or ()):
                scope["endpoint"] = route.endpoint
                scope["path_params"] = {"id": context_id}
                response: Response = await route.endpoint(Request(scope, receive, send))
                return await response(scope, receive, send)
        return await self._app(scope, receive, send)

"""The HTTP application: routes over a store."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.access import OPEN, Access, AccessRules
from api.counting import TokenCounter
from api.listing import Listing
from api.live import LIVE_DEFAULTS, Connections, LiveRules
from api.neighbours import Neighbours
from api.observing import Observed
from api.passing import PassOn
from api.problems import Problem, response_to
from api.routes.contexts import ContextRoutes
from api.routes.health import HealthRoutes
from api.routes.live import LiveRoutes
from api.routes.messages import MessageRoutes
from api.routes.metrics import MetricsRoutes
from api.routes.openapi import OpenApiRoutes
from api.routes.window import WindowRoutes
from api.stale import StaleMark
from streams.core.tokens import Measure
from streams.metrics import Metrics
from streams.store import Store
from streams.tracing import TRACING_OFF, Tracing

ASGI = Callable[[Any, Any, Any], Awaitable[None]]


PATIENCE_S: Final = 10.0


class RawPath:
    """Routes on the path as it was sent: a server decodes it leniently, and an encoded slash in a
    context id would look like a separator."""

    def __init__(self, app: ASGI) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] in ("http", "websocket") and scope.get("raw_path") is not None:
            path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
            scope = scope | {"path": path}
        await self._app(scope, receive, send)


def make_api(
    store: Store,
    measure: Callable[[str], Measure],
    *,
    access: AccessRules = OPEN,
    live: LiveRules = LIVE_DEFAULTS,
    neighbours: Neighbours | None = None,
    patience_s: float = PATIENCE_S,
    metrics: Metrics | None = None,
    tracing: Tracing = TRACING_OFF,
) -> FastAPI:
    """The application. `measure` gives an encoding's measure by its name, from any thread.

    `patience_s`: how long a request may wait for a context that moves between nodes.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    counter = TokenCounter(measure)
    metrics = Metrics() if metrics is None else metrics
    neighbours = Neighbours() if neighbours is None else neighbours
    connections = Connections(live.connections_max)
    metrics.stream_connections.set_function(lambda: connections.open)
    for routes in (
        ContextRoutes(store, Listing(store, neighbours, patience_s)),
        MessageRoutes(store, counter),
        WindowRoutes(store, counter),
        LiveRoutes(store, live, connections),
        HealthRoutes(store),
        MetricsRoutes(metrics),
        OpenApiRoutes(),
    ):
        app.router.routes.extend(routes.routes())
    app.add_exception_handler(HTTPException, _in_our_shape)
    app.add_exception_handler(Exception, _in_our_shape)
    app.add_middleware(PassOn, store=store, neighbours=neighbours, patience_s=patience_s)
    app.add_middleware(StaleMark, stale=lambda: store.health().stale)
    app.add_middleware(Access, rules=access)
    app.add_middleware(Observed, routes=app.routes, metrics=metrics, tracing=tracing)
    app.add_middleware(RawPath)
    return app


async def _in_our_shape(request: Request, exc: Exception) -> Response:
    """The framework's own refusals: no such route, or not with this method. And our own bugs."""
    match exc:
        case HTTPException(status_code=404):
            return response_to(Problem("not_found", "there is nothing under this path"))
        case HTTPException(status_code=405):
            message = f"{request.method} is not offered here; see the header Allow"
            response = response_to(Problem("method_not_allowed", message))
            response.headers.update(exc.headers or {})
            return response
        case _:
            return response_to(exc)

"""The HTTP application: routes over a store."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response

from api.access import OPEN, Access, AccessRules
from api.admission import REQUESTS_MAX, Admission
from api.counting import TokenCounter
from api.dispatch import Dispatch
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
from api.routes.undo import UndoRoutes
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
            scope["path"] = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        await self._app(scope, receive, send)


class Api(FastAPI):
    """FastAPI with what stands around every request. Of FastAPI's own there is only what turns its
    refusals into answers: `Observed` answers where there is a bug, and no route needs the rest."""

    def __init__(self, around: Callable[[ASGI], ASGI]) -> None:
        super().__init__(openapi_url=None, redirect_slashes=False)
        self._around = around

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request. FastAPI's own way asks for its telemetry first, each time."""
        await Starlette.__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGI:
        """Called by Starlette when the first request comes."""
        return self._around(ExceptionMiddleware(self.router, handlers=self.exception_handlers))


def make_api(
    store: Store,
    measure: Callable[[str], Measure],
    *,
    access: AccessRules = OPEN,
    live: LiveRules = LIVE_DEFAULTS,
    neighbours: Neighbours | None = None,
    patience_s: float = PATIENCE_S,
    requests_max: int = REQUESTS_MAX,
    metrics: Metrics | None = None,
    tracing: Tracing = TRACING_OFF,
) -> FastAPI:
    """The application. `measure` gives an encoding's measure by its name, from any thread.

    `patience_s`: how long a request may wait for a context that moves between nodes.
    `requests_max`: how many reads, and how many writes, may be at work at a time.
    """
    counter = TokenCounter(measure)
    metrics = Metrics() if metrics is None else metrics
    neighbours = Neighbours() if neighbours is None else neighbours
    connections = Connections(live.connections_max)

    def around(inner: ASGI) -> ASGI:
        """From the inside to the outside."""
        short = Dispatch(inner, app.routes)
        owned = PassOn(short, store=store, neighbours=neighbours, patience_s=patience_s)
        marked = StaleMark(owned, stale=lambda: store.health().stale)
        allowed = Access(marked, rules=access)
        admitted = Admission(allowed, requests_max=requests_max)
        return RawPath(Observed(admitted, routes=app.routes, metrics=metrics, tracing=tracing))

    app = Api(around)
    metrics.stream_connections.set_function(lambda: connections.open)
    for routes in (
        ContextRoutes(store, Listing(store, neighbours, patience_s)),
        MessageRoutes(store, counter),
        WindowRoutes(store, counter),
        UndoRoutes(store),
        LiveRoutes(store, live, connections),
        HealthRoutes(store),
        MetricsRoutes(metrics),
        OpenApiRoutes(),
    ):
        app.router.routes.extend(routes.routes())
    app.add_exception_handler(HTTPException, _in_our_shape)
    return app


async def _in_our_shape(request: Request, exc: Exception) -> Response:
    """The framework's own refusals: no such route, or not with this method. Any other is a bug."""
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

"""What is seen of every request: an id that goes with it, its time, its errors, its span."""

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Any, Final

from opentelemetry.trace import Span, StatusCode
from starlette.routing import BaseRoute, Route, WebSocketRoute

from api.problems import PROBLEM, Decided, Problem, response_to
from api.requests import READS
from schemas.trail import Trail, is_request_id, is_traceparent
from streams.metrics import Metrics
from streams.tracing import TRACING_OFF, Tracing, traceparent_of
from streams.trail import TRAIL

ASGI = Callable[[Any, Any, Any], Awaitable[None]]

REQUEST_ID: Final = b"x-request-id"
TRACEPARENT: Final = b"traceparent"
APPENDS: Final = "/v1/contexts/{id}/messages"
STARTS: Final = ("http.response.start", "websocket.accept", "websocket.http.response.start")
SWITCHED: Final = 101


class Observed:
    """Stands around the application, so that no answer escapes it.

    `X-Request-Id` is the client's, where it sends one that is sound, or a new one; it comes back in
    every answer and stands in every line that is logged meanwhile.
    """

    def __init__(
        self,
        app: ASGI,
        routes: Iterable[BaseRoute],
        metrics: Metrics,
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        self._app = app
        self._paths = {r.endpoint: r.path for r in routes if isinstance(r, Route | WebSocketRoute)}
        self._metrics = metrics
        # Looking a label up anew each time costs more than counting.
        self._requests = cache(lambda route, status: metrics.requests.labels(route, str(status)))
        self._read_duration = cache(metrics.read_duration.labels)
        self._tracing = tracing

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, or one websocket."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        request_id, traceparent = _given(scope["headers"])
        span = None
        if self._tracing.on and scope["type"] == "http" and scope["path"].startswith("/v1"):
            span = self._tracing.served(scope["method"], traceparent)
            traceparent = traceparent_of(span)
        answer = _Answer(send, request_id)
        token = TRAIL.set(Trail(request_id, traceparent))
        try:
            await self._answered(scope, receive, answer)
        finally:
            TRAIL.reset(token)
            route = self._paths.get(scope.get("endpoint"), "")
            if answer.status is not None:
                self._count(scope, route, answer.status, answer.seconds)
            if span is not None:
                _end(span, scope, route, answer.status)
        return None

    async def _answered(self, scope: Any, receive: Any, answer: "_Answer") -> None:
        """A bug outside our routes gets our answer as well, where none has begun."""
        try:
            await self._app(scope, receive, answer)
        except Exception as exc:
            if scope["type"] != "http" or answer.status is not None:
                raise
            await response_to(exc)(scope, receive, answer)

    def _count(self, scope: Any, route: str, status: int, seconds: float) -> None:
        """`route`: the path's template; empty where no route has this path."""
        self._requests(route or "other", status).inc()
        problem: Problem | None = scope.get(PROBLEM)
        if problem is not None and not isinstance(problem, Decided):
            self._metrics.refused.labels(problem.code).inc()
        if scope["type"] != "http" or not route.startswith("/v1"):
            return
        if scope["method"] in READS:
            self._read_duration(route).observe(seconds)
        elif scope["method"] == "POST" and route == APPENDS:
            self._metrics.append_duration.observe(seconds)


class _Answer:
    """Passes an answer on, with the request's id in it. `status`: None until it begins, which was
    `seconds` after the request came in."""

    def __init__(self, send: Any, request_id: str) -> None:
        self.status: int | None = None
        self.seconds = 0.0
        self._send = send
        self._header = (REQUEST_ID, request_id.encode())
        self._began = time.perf_counter()

    async def __call__(self, message: Any) -> None:
        """One piece of the answer."""
        if message["type"] in STARTS:
            self.status = message.get("status", SWITCHED)
            self.seconds = time.perf_counter() - self._began
            message = {**message, "headers": [*message.get("headers", ()), self._header]}
        await self._send(message)


def _given(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str | None]:
    """Request id and traceparent, where the client sends sound ones, once; else a new id."""
    found: dict[bytes, list[str]] = {REQUEST_ID: [], TRACEPARENT: []}
    for name, value in headers:
        if name in found:
            found[name].append(value.decode("latin-1"))
    ids, parents = found[REQUEST_ID], found[TRACEPARENT]
    return (
        ids[0] if len(ids) == 1 and is_request_id(ids[0]) else secrets.token_hex(16),
        parents[0] if len(parents) == 1 and is_traceparent(parents[0]) else None,
    )


def _end(span: Span, scope: Any, route: str, status: int | None) -> None:
    """Without a status the client was gone before its answer."""
    if route:
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    if (problem := scope.get(PROBLEM)) is not None:
        span.set_attribute("error.type", problem.code)
    if status is None or status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()

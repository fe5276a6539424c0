"""What every route goes through: errors in our shape, and the idempotency key in every answer."""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.problems import Problem, response_to
from api.requests import KEY_HEADER, check_query, idempotency_key, new_idempotency_key

CONTEXTS: Final = "/v1/contexts/"
"""What the path of every context begins with; its id comes next, as it was sent."""

Handler = Callable[[Request], Awaitable[Response]]
Writer = Callable[[Request, str], Awaitable[Response]]


def resource(path: str, **handlers: Handler) -> Route:
    """One path with everything that it offers, by method, so that a 405 names all of it."""

    async def route(request: Request) -> Response:
        # The server leaves the body of an answer to HEAD away.
        method = "GET" if request.method == "HEAD" else request.method
        return await handlers[method](request)

    return Route(path, route, methods=list(handlers))


def reads(handler: Handler, *, query: Collection[str] | None = None) -> Handler:
    """A route that changes nothing. `query`: the parameters that it knows, None for any."""

    async def route(request: Request) -> Response:
        try:
            if query is not None:
                check_query(request, query)
            return await handler(request)
        except Exception as exc:
            return response_to(exc)

    return route


def writes(handler: Writer) -> Handler:
    """A route that appends an event under an idempotency key, which every answer gives back.

    Where the client's own key is refused, the answer holds one that may be used in its place.
    """

    async def route(request: Request) -> Response:
        try:
            key = idempotency_key(request)
        except Problem as exc:
            key, response = new_idempotency_key(), response_to(exc)
        else:
            response = await _answer(request, key, handler)
        response.raw_headers.append((KEY_HEADER, key.encode("latin-1")))
        return response

    return route


async def _answer(request: Request, key: str, handler: Writer) -> Response:
    try:
        check_query(request, ())
        return await handler(request, key)
    except Exception as exc:
        return response_to(exc)


def json_response(body: bytes, status: int = 200, *, replayed: bool = False) -> Response:
    """An answer whose JSON is already there. `replayed`: it is one that was given before."""
    response = Response(body, status, media_type="application/json")
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response

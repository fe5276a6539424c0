"""Errors as clients see them: one shape, a sentence that says what to do, never a stack trace."""

import uuid
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from schemas.limits import REASON_CHARS_MAX
from streams.store import Moved, Unavailable

log = structlog.get_logger()

MOVED: Final = b"rewindow-moved"
"""On a refusal because the context is not here now: another node may have it."""

STATUS: Final = {
    "invalid_request": HTTPStatus.BAD_REQUEST,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "not_found": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "conflict": HTTPStatus.CONFLICT,
    "tombstoned": HTTPStatus.CONFLICT,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "idempotency_key_reused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not_expressible": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
}


PROBLEM: Final = "rewindow.problem"
"""Where an error answer leaves its `Problem` in the scope of its request."""


class Problem(Exception):
    """An error answer; `fields` stand beside `error` and `message`.

    A field `retry_after`, in seconds, is also sent as the header `Retry-After`.
    """

    def __init__(self, code: str, message: str, **fields: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = fields


class Decided(Problem):
    """A refusal of the fold, which has counted it."""


class _ProblemResponse(Response):
    """Leaves its problem in the scope, for whoever counts."""

    def __init__(self, problem: Problem, body: bytes) -> None:
        super().__init__(body, STATUS[problem.code], media_type="application/json")
        self._problem = problem

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        scope[PROBLEM] = self._problem
        await super().__call__(scope, receive, send)


def invalid(message: str, field: str | None = None) -> Problem:
    """A request that can't be understood, and the field that is wrong, where there is one.

    Both may hold what the client sent, which may be long; what is sent back is not.
    """
    fields = {} if field is None else {"field": _cut(field)}
    return Problem("invalid_request", _cut(message), **fields)


def not_found(context_id: str) -> Problem:
    """There is no such context."""
    return Problem("not_found", f"no context {context_id!r}; PUT it first")


def response_to(exc: Exception) -> Response:
    """The answer to whatever was raised. What nobody foresaw is logged under a trace id."""
    match exc:
        case Problem():
            return _response(exc)
        case Moved():
            response = _response(Problem("unavailable", exc.message, retry_after=exc.retry_after_s))
            response.headers.raw.append((MOVED, b"true"))
            return response
        case Unavailable():
            return _response(Problem("unavailable", exc.message, retry_after=exc.retry_after_s))
        case ClientDisconnect():
            return _response(invalid("the request ended before its body did; send all of it"))
        case _:
            trace_id = uuid.uuid4().hex
            log.error("a request met a bug", trace_id=trace_id, exc_info=exc)
            message = f"this is a bug; report it with the trace id {trace_id}"
            return _response(Problem("internal", message, trace_id=trace_id))


def _cut(text: str) -> str:
    return text if len(text) <= REASON_CHARS_MAX else text[: REASON_CHARS_MAX - 1] + "…"


def _response(problem: Problem) -> Response:
    body = {"error": problem.code, "message": problem.message, **problem.fields}
    response = _ProblemResponse(problem, msgspec.json.encode(body))
    if "retry_after" in problem.fields:
        response.headers["Retry-After"] = str(problem.fields["retry_after"])
    if problem.code == "unauthorized":
        response.headers["WWW-Authenticate"] = "Bearer"
    return response

"""A refusal before any route was asked, over HTTP and websockets alike."""

from typing import Any

from starlette.requests import Request
from starlette.websockets import WebSocket

from api.problems import Problem, response_to
from api.requests import IDEMPOTENCY_KEY, READS, key_to_give_back


async def refuse(problem: Problem, scope: Any, receive: Any, send: Any) -> None:
    """Answer with a problem; a write has its idempotency key back, as in every answer."""
    answer = response_to(problem)
    if scope["type"] == "websocket":
        # Before the handshake is accepted, so that the client gets the same answer as over HTTP.
        await WebSocket(scope, receive, send).send_denial_response(answer)
    else:
        if scope["method"] not in READS:
            answer.headers[IDEMPOTENCY_KEY] = key_to_give_back(Request(scope))
        await answer(scope, receive, send)

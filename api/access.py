"""Who may ask, and how often: API keys, and a limit of requests for each of them."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from msgspec import Struct
from starlette.requests import HTTPConnection

from api.problems import Problem
from api.refusing import refuse

ASGI = Callable[[Any, Any, Any], Awaitable[None]]

OPEN_PATHS: Final = "/health/"
"""What a load balancer asks has no key and no limit."""


class AccessRules(Struct, frozen=True):
    """`keys`: one of them has to come with each request; none: everybody may ask. `rate_limit`:
    requests a second for each key, or for each address where there are no keys; None: no limit."""

    keys: tuple[str, ...] = ()
    rate_limit: int | None = None


OPEN: Final = AccessRules()


class Access:
    """Stands before the application, for HTTP and websockets alike."""

    def __init__(self, app: ASGI, rules: AccessRules) -> None:
        self._app = app
        self._keys = tuple(key.encode() for key in rules.keys)
        self._limit = None if rules.rate_limit is None else RateLimitItemPerSecond(rules.rate_limit)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._has_rules = bool(rules.keys) or rules.rate_limit is not None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if self._has_rules and not _is_open(scope):
            try:
                await self._check(HTTPConnection(scope))
            except Problem as refusal:
                return await refuse(refusal, scope, receive, send)
        return await self._app(scope, receive, send)

    async def _check(self, connection: HTTPConnection) -> None:
        who = self._key_of(connection)
        if self._limit is not None and not await self._limiter.hit(self._limit, who):
            raise Problem(
                "rate_limited",
                f"more than {self._limit.amount} requests in a second; wait, then ask again",
                retry_after=1,
            )

    def _key_of(self, connection: HTTPConnection) -> str:
        """Who asks, for counting. Raises `Problem` where a key is wanted and none fits."""
        if not self._keys:
            return "" if connection.client is None else connection.client.host
        scheme, _, sent = connection.headers.get("Authorization", "").partition(" ")
        given = sent.strip().encode("latin-1")
        # Every key is compared, so that the time says nothing about any of them.
        matching = [key for key in self._keys if hmac.compare_digest(key, given)]
        if scheme.lower() != "bearer" or not matching:
            raise Problem(
                "unauthorized", "send a valid API key in the header Authorization: Bearer <key>"
            )
        return matching[0].decode()


def _is_open(scope: Any) -> bool:
    path: str = scope.get("path", "")
    return scope["type"] == "lifespan" or path.startswith(OPEN_PATHS)

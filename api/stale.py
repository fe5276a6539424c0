"""Reads go on while the broker is away, and say that they may be old."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from api.requests import READS

ASGI = Callable[[Any, Any, Any], Awaitable[None]]

HEADER: Final = (b"rewindow-stale", b"true")


class StaleMark:
    """Adds `Rewindow-Stale: true` to answers of reads while `stale()`."""

    def __init__(self, app: ASGI, stale: Callable[[], bool]) -> None:
        self._app = app
        self._stale = stale

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if (
            scope["type"] != "http"
            or scope["method"] not in READS
            or not scope["path"].startswith("/v1/")
            or not self._stale()
        ):
            return await self._app(scope, receive, send)

        async def send_marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], HEADER]}
            await send(message)

        return await self._app(scope, receive, send_marked)

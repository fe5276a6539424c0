"""The commands' way to a node: HTTP, with errors turned into sentences."""

from typing import Any
from urllib.parse import quote

import httpx

from rewindow.errors import CannotStart

TIMEOUT_S = 30


class Client:
    """Talks to one node. Every method raises `CannotStart` with what the node said."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S)

    def get(self, context_id: str, what: str = "", **query: int | None) -> Any:
        """Read something of a context."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._asked("GET", _path(context_id, what), params=given)

    def put(self, context_id: str, settings: dict[str, Any]) -> Any:
        """Make a context, or change its settings."""
        return self._asked("PUT", _path(context_id), json=settings)

    def append(self, context_id: str, messages: list[dict[str, Any]], key: str | None) -> Any:
        """Append messages, all or nothing."""
        headers = {} if key is None else {"Idempotency-Key": key}
        path = _path(context_id, "messages")
        return self._asked("POST", path, json={"messages": messages}, headers=headers)

    def digests(self) -> bytes:
        """What the node's tables hold, as JSON."""
        return self._sent("GET", "/internal/digests").content

    def exists(self, context_id: str) -> bool:
        """Whether there is such a context."""
        return self._http.get(_path(context_id)).status_code == httpx.codes.OK

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        return self._sent(method, path, **more).json()

    def _sent(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as exc:
            raise CannotStart(
                f"no node answers at {self._url} ({exc}); start `rewindow up`, or say where with "
                "--url"
            ) from None
        if answer.is_error:
            raise CannotStart(str(answer.json()["message"]))
        return answer


def _path(context_id: str, what: str = "") -> str:
    path = f"/v1/contexts/{quote(context_id, safe='')}"
    return f"{path}/{what}" if what else path

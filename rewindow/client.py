"""The commands' way to a node: HTTP, with errors turned into sentences."""

from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from rewindow.errors import CannotStart
from streams.tables.digest import Digest

TIMEOUT_S: Final = 30
DIGESTS_S: Final = 600
"""Every row that a node holds is hashed: some million a minute."""


class Client:
    """Talks to one node, with an API key where it wants one. Everything raises `CannotStart` with
    what the node said."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, headers=headers)
        except httpx.InvalidURL as exc:
            raise CannotStart(f"{url} is no address ({exc}); write http://host:port") from None
        except UnicodeEncodeError:
            raise CannotStart("the API key holds letters beyond ASCII; no node has such") from None

    def get(self, context_id: str, what: str = "", **query: int | None) -> Any:
        """Read something of a context."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._asked(Any, "GET", _path(context_id, what), params=given)

    def put(self, context_id: str, settings: dict[str, Any]) -> Any:
        """Make a context, or change its settings."""
        return self._asked(Any, "PUT", _path(context_id), json=settings)

    def append(self, context_id: str, messages: list[dict[str, Any]], key: str | None) -> Any:
        """Append messages, all or nothing."""
        headers = {} if key is None else {"Idempotency-Key": key}
        path = _path(context_id, "messages")
        return self._asked(Any, "POST", path, json={"messages": messages}, headers=headers)

    def digests(self) -> list[Digest]:
        """What the node's tables hold."""
        found: list[Digest] = self._asked(
            list[Digest], "GET", "/internal/digests", timeout=DIGESTS_S
        )
        return found

    def _asked(self, answer_type: Any, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as exc:
            raise CannotStart(
                f"no node answers at {self._url} ({exc}); start `rewindow up`, or say where with "
                "--url"
            ) from None
        try:
            if answer.is_success:
                return msgspec.json.decode(answer.content, type=answer_type)
            refused = msgspec.json.decode(answer.content, type=dict[str, Any])["message"]
        except (msgspec.DecodeError, KeyError):
            raise CannotStart(
                f"what answers at {self._url} is no node of Rewindow; say where one is with --url"
            ) from None
        raise CannotStart(str(refused))


def _path(context_id: str, what: str = "") -> str:
    path = f"/v1/contexts/{quote(context_id, safe='')}"
    return f"{path}/{what}" if what else path

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


class Refused(CannotStart):
    """A node answered with an error: its code, and when to ask again, where that helps."""

    def __init__(self, message: str, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class Away(CannotStart):
    """Nobody answered; what was asked may have been done."""


class _Page(msgspec.Struct):
    messages: list[msgspec.Raw]


class _Refusal(msgspec.Struct):
    message: str
    error: str = ""
    retry_after: float | None = None


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
        return self.append_body(context_id, msgspec.json.encode({"messages": messages}), key)

    def append_body(self, context_id: str, body: bytes, key: str | None) -> Any:
        """The same, with the request's body as it is sent."""
        path = _path(context_id, "messages")
        return self._asked(Any, "POST", path, content=body, headers=_under(key))

    def undo(self, context_id: str, from_seq: int, key: str | None) -> Any:
        """Undo every message from a seq on."""
        path, body = _path(context_id, "undo"), {"from_seq": from_seq}
        return self._asked(Any, "POST", path, json=body, headers=_under(key))

    def stored(self, context_id: str, from_seq: int, limit: int) -> list[msgspec.Raw]:
        """Messages of a context, each as it is stored."""
        query = {"from_seq": from_seq, "limit": limit}
        path = _path(context_id, "messages")
        page: _Page = self._asked(_Page, "GET", path, params=query)
        return page.messages

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
            raise Away(
                f"no node answers at {self._url} ({exc}); start `rewindow up`, or say where with "
                "--url"
            ) from None
        try:
            if answer.is_success:
                return msgspec.json.decode(answer.content, type=answer_type)
            refusal = msgspec.json.decode(answer.content, type=_Refusal)
        except msgspec.DecodeError:
            raise CannotStart(
                f"what answers at {self._url} is no node of Rewindow; say where one is with --url"
            ) from None
        raise Refused(refusal.message, refusal.error, refusal.retry_after)


def _under(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _path(context_id: str, what: str = "") -> str:
    path = f"/v1/contexts/{quote(context_id, safe='')}"
    return f"{path}/{what}" if what else path

"""One client of a node, one request after the other."""

from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import msgspec

from rewindow.errors import CannotStart


def serves(url: str, path: str, timeout_s: float) -> bool:
    """Whether a GET is answered with 200 now."""
    asked = HTTPConnection(urlsplit(url).netloc, timeout=timeout_s)
    try:
        asked.request("GET", path)
        return asked.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        asked.close()


class Http:
    """One connection, kept alive."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=30)

    def put(self, context_id: str, settings: bytes = b"{}") -> None:
        """Make a context, with the defaults where its settings leave something out."""
        self._asked("PUT", f"/v1/contexts/{context_id}", settings, 201)

    def get(self, context_id: str) -> dict[str, Any]:
        """What is known of a context."""
        known: dict[str, Any] = msgspec.json.decode(
            self._asked("GET", f"/v1/contexts/{context_id}", None, 200)
        )
        return known

    def read(self, context_id: str, path: str) -> bytes:
        """What is below a context."""
        return self._asked("GET", f"/v1/contexts/{context_id}/{path}", None, 200)

    def append(self, context_id: str, body: bytes) -> None:
        """One message."""
        self._asked("POST", f"/v1/contexts/{context_id}/messages", body, 201)

    def _asked(self, method: str, path: str, body: bytes | None, expected: int) -> bytes:
        try:
            answer = self._sent(method, path, body)
        except ConnectionError:
            # The server closes what was silent for a while. An append comes right after a GET.
            if method == "POST":
                raise
            self._connection.close()
            answer = self._sent(method, path, body)
        read = answer.read()
        if answer.status != expected:
            raise CannotStart(f"{method} {path} was answered with {answer.status}: {read[:200]!r}")
        return read

    def _sent(self, method: str, path: str, body: bytes | None) -> HTTPResponse:
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        return self._connection.getresponse()

"""HTTP/1.1 on the wire: uvicorn's protocol, with bounds where it has none.

uvicorn takes a head of any size, and reads on for as long as a body lasts that nobody wants. Here
a head is bounded; what is left of an unwanted body is thrown away, within bounds, so that a client
that still sends can read its refusal; and what is not HTTP is refused in our shape.
"""

import asyncio
import secrets
from http import HTTPStatus
from typing import Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES_MAX: Final = 64 << 10
"""Of request line and headers, of trailers, and of what stands beside a chunk's size."""
UNWANTED_BYTES_MAX: Final = 16 << 20
UNWANTED_S: Final = 10.0


class Http(HttpToolsProtocol):
    """One connection."""

    _unheard = 0
    """Bytes since the parser last told of anything whole."""
    _unwanted: asyncio.TimerHandle | None = None
    """There while a body is thrown away; closes the connection when it takes too long."""
    _unwanted_bytes = 0

    # -- what comes in -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Some bytes."""
        self._unheard += len(data)
        super().data_received(data)
        if self._unheard > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too_large",
                f"the head of a request has at most {HEAD_BYTES_MAX} bytes; send less of it",
            )

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        self._unheard = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body is there."""
        self._unheard = 0
        super().on_body(body)
        if self._unwanted is not None:
            self._unwanted_bytes += len(body)
            if self._unwanted_bytes > UNWANTED_BYTES_MAX:
                self.transport.close()

    def on_message_complete(self) -> None:
        """A request is there to its end."""
        self._unheard = 0
        super().on_message_complete()
        if self._unwanted is not None:
            self._want()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def handle_websocket_upgrade(self) -> None:
        """A websocket is asked for. With a body, both sides would wait for each other."""
        bodies = (b"content-length", b"transfer-encoding")
        if self.scope["method"] == "GET" and not any(name in bodies for name, _ in self.headers):
            super().handle_websocket_upgrade()
        else:
            self._refuse(
                HTTPStatus.BAD_REQUEST,
                "invalid_request",
                "a websocket is opened by a GET without a body; send one",
            )

    # -- what goes out -----------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """An answer is sent; the request may not be there to its end."""
        super().on_response_complete()
        cycle = self.cycle
        if cycle.response_complete and cycle.more_body and not self.transport.is_closing():
            self._unwanted_bytes = 0
            self._unwanted = self.loop.call_later(UNWANTED_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._want()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """The parser gave up; there is no going on after that."""
        self._refuse(
            HTTPStatus.BAD_REQUEST,
            "invalid_request",
            "this is not HTTP/1.1, or can be read in two ways; send one plain request",
        )

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        """Answer, unless that would be taken for a part of another answer, and end."""
        cycle: RequestResponseCycle | None = self.cycle
        whole = cycle is not None and not cycle.more_body
        if cycle is None or cycle.response_complete or not (whole or cycle.response_started):
            body = msgspec.json.encode({"error": code, "message": message})
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"x-request-id: %b\r\nconnection: close\r\n\r\n%b"
                % (status, status.phrase.encode(), len(body), secrets.token_hex(16).encode(), body)
            )
        self.transport.close()

    def _want(self) -> None:
        if self._unwanted is not None:
            self._unwanted.cancel()
            self._unwanted = None

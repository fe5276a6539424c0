"""uvicorn with nothing behind it: an append's body is read and the answer is ready; what is read of
a context is `bytes/N`, so many bytes."""

import sys
from functools import cache
from typing import Any, Final

import uvicorn

from bench.http import serves
from bench.machine import ROOT
from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.ports import free_port
from rewindow.embedded.server import Server

ANSWER: Final = b'{"seq":1234,"version":1234,"token_estimate":198}'


def _headers(body: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]


HEADERS: Final = [
    *_headers(ANSWER),
    (b"idempotency-key", b"0123456789abcdef0123456789abcdef"),
]


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """One request."""
    if scope["method"] == "GET":
        body = _body(int(scope["path"].rpartition("/")[2] or 0))
        await _send(send, 200, _headers(body), body)
        return
    while (await receive()).get("more_body", False):
        pass
    await _send(send, 201, HEADERS, ANSWER)


async def _send(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@cache
def _body(size: int) -> bytes:
    return b"x" * size


class BareServer(Server):
    """It, as a child process."""

    title = "the bare server"
    ready_s = 30
    stop_s = 5

    def __init__(self, folder: DataFolder) -> None:
        super().__init__("bare-server", folder.folder("logs"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def _launch(self) -> None:
        self._spawn([sys.executable, "-m", __name__, str(self.port)], cwd=ROOT)

    def _serves(self) -> bool:
        return serves(self.url, "/", 1)


if __name__ == "__main__":
    # As the node sets it up.
    uvicorn.run(
        answer,
        port=int(sys.argv[1]),
        loop="uvloop",
        log_level="warning",
        access_log=False,
        lifespan="off",
    )

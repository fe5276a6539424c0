"""Requests as a server hands them over, byte by byte: what no HTTP client would send."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from msgspec import Struct

Headers = Sequence[tuple[bytes, bytes]]


class Answer(Struct):
    """What came back, and how many chunks of the request had been read by then."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunks_read: int

    def json(self) -> Any:
        return json.loads(self.body)


async def send(
    app: FastAPI,
    method: str,
    raw_path: bytes,
    *,
    headers: Headers = (),
    chunks: Sequence[bytes] = (),
    cut_off: bool = False,
) -> Answer:
    """One request. `cut_off`: the client goes away after the last chunk."""
    answer = Answer(0, {}, b"", 0)
    path, _, query = raw_path.partition(b"?")

    async def receive() -> dict[str, Any]:
        at = answer.chunks_read
        if at == len(chunks):
            return {"type": "http.disconnect" if cut_off else "http.request", "body": b""}
        answer.chunks_read += 1
        more = cut_off or at + 1 < len(chunks)
        return {"type": "http.request", "body": chunks[at], "more_body": more}

    async def reply(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode(errors="replace"),
        "raw_path": path,
        "query_string": query,
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, reply)
    return answer

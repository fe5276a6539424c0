"""What a team would write today: FastAPI with pydantic bodies, and a store behind it, with routes
and answers as Rewindow has them. It does less: there are no keys for retries, no other policy than
`last_n`, no followers, and nobody else may write.

Where there is more than one way, the quicker one is taken: a message is stored as the JSON that is
answered, bodies are not decoded to be read, and answers are put together from bytes.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from itertools import cycle
from typing import Annotated, Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
import uvicorn
from fastapi import FastAPI, Response
from fastapi import HTTPException as Refused
from msgspec import Raw
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from typing_extensions import TypedDict

from bench.http import serves
from bench.machine import ROOT
from bench.messages import TOKENS, texts
from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.ports import free_port
from rewindow.embedded.server import Server
from streams import encodings
from streams.core.tokens import count_parts

T = TypeVar("T")


ADDRESS: Final = "BENCH_STORE"
"""The name in the environment under which a store is told where its data are."""


class Part(TypedDict):
    """One part of a message; what else it has is kept."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    type: Annotated[str, Field(min_length=1)]


class MessageBody(BaseModel):
    """A message, as it is sent."""

    model_config = ConfigDict(extra="forbid")

    role: Annotated[str, Field(min_length=1, max_length=64)]
    parts: Annotated[list[Part], Field(min_length=1)]
    token_count: NonNegativeInt | None = None
    metadata: dict[str, Any] = {}


class AppendBody(BaseModel):
    """The body of an append."""

    model_config = ConfigDict(extra="forbid")

    message: MessageBody


class LastN(BaseModel):
    """How many messages the window holds."""

    limit: PositiveInt = 400


class Policy(BaseModel):
    """The only one that there is."""

    strategy: str = "last_n"
    config: LastN = LastN()


class ContextBody(BaseModel):
    """The settings of a context."""

    token_budget: PositiveInt = 8192
    trigger_ratio: Annotated[float, Field(gt=0, le=1)] = 0.7
    policy: Policy = Policy()


class Said(NamedTuple):
    """A message that is to be stored: its JSON but for what the store gives it."""

    role: str
    tokens: int
    inserted_at: str
    rest: bytes

    def stored(self, seq: int) -> bytes:
        """All of it. As only appends change anything here, its version is its seq."""
        return b'{"seq":%d,"version":%d,%b' % (seq, seq, self.rest)


class Found(NamedTuple):
    """A context's newest messages, the newest first, each with its tokens."""

    version: int
    budget: int
    messages: Sequence[tuple[int, bytes]]


class Store(Protocol):
    """Where messages are kept. None where there is no such context."""

    async def configure(self, context_id: str, budget: int, limit: int) -> None:
        """Make the context."""

    async def append(self, context_id: str, said: Said) -> int | None:
        """Store a message, durably; its seq."""

    async def window(self, context_id: str) -> Found | None:
        """The newest messages, as many as the context's window may have."""

    async def tail(self, context_id: str, limit: int, offset: int) -> Sequence[bytes] | None:
        """A page counted back from the newest message, in chronological order."""


def said(message: MessageBody) -> Said:
    """A message as it is stored, with its tokens counted as Rewindow counts them."""
    parts = msgspec.json.encode(message.parts)
    tokens = message.token_count
    if tokens is None:
        tokens = count_parts(encodings.measure("o200k_base"), Raw(parts))
    inserted_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    rest = msgspec.json.encode(
        {
            "role": message.role,
            "parts": Raw(parts),
            "token_count": tokens,
            "metadata": message.metadata,
            "inserted_at": inserted_at,
        }
    )
    return Said(message.role, tokens, inserted_at, rest[1:])


def prose() -> Iterator[Said]:
    """The messages that a store is filled with, on and on: those that nodes are filled with."""
    parts = ({"type": "text", "text": text} for text in texts())
    shape = {"role": "user", "token_count": TOKENS}
    return cycle([said(MessageBody.model_validate({**shape, "parts": [one]})) for one in parts])


def store_app(
    store: Store, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]
) -> FastAPI:
    """The routes over a store, which `lifespan` opens and closes."""
    encodings.measure("o200k_base")
    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.put("/v1/contexts/{context_id}", status_code=201)
    async def configure(context_id: str, body: ContextBody) -> Response:
        await store.configure(context_id, body.token_budget, body.policy.config.limit)
        return _json(b"{}", 201)

    @app.post("/v1/contexts/{context_id}/messages", status_code=201)
    async def append(context_id: str, body: AppendBody) -> Response:
        message = said(body.message)
        seq = _known(await store.append(context_id, message))
        content = b'{"seq":%d,"version":%d,"token_estimate":%d}' % (seq, seq, message.tokens)
        return _json(content, 201)

    @app.get("/v1/contexts/{context_id}/context")
    async def window(context_id: str) -> Response:
        return _json(_window(_known(await store.window(context_id))))

    @app.get("/v1/contexts/{context_id}/tail")
    async def tail(
        context_id: str,
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
        offset: NonNegativeInt = 0,
    ) -> Response:
        page = _known(await store.tail(context_id, limit, offset))
        return _json(b'{"messages":[%b]}' % b",".join(page))

    @app.get("/health")
    async def health() -> Response:
        return _json(b"{}")

    return app


def _known(found: T | None) -> T:
    if found is None:
        raise Refused(404, "there is no such context")
    return found


def _window(found: Found) -> bytes:
    """The newest messages that fit in the budget, and at least one."""
    shown: list[bytes] = []
    used_tokens = 0
    for tokens, body in found.messages:
        if shown and used_tokens + tokens > found.budget:
            break
        shown.append(body)
        used_tokens += tokens
    shown.reverse()
    first = found.version - len(shown) + 1
    return (
        b'{"version":%d,"messages":[%b],"used_tokens":%d,"token_budget":%d,'
        b'"needs_compaction":false,"segments":[{"type":"live","from_seq":%d,"to_seq":%d}]}'
        % (found.version, b",".join(shown), used_tokens, found.budget, first, found.version)
    )


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")


class StoreServer(Server):
    """It, as a child process. `module` has a function `app`; `address` is told to it."""

    title = "the store"
    ready_s = 30
    stop_s = 5

    def __init__(self, folder: DataFolder, module: str, address: str) -> None:
        name = module.rpartition(".")[2].replace("_", "-")
        super().__init__(name, folder.folder("logs"))
        self._module = module
        self._address = address
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def _launch(self) -> None:
        argv = [sys.executable, "-m", __name__, self._module, str(self.port)]
        self._spawn(argv, cwd=ROOT, env={**os.environ, ADDRESS: self._address})

    def _serves(self) -> bool:
        return serves(self.url, "/health", 1)


if __name__ == "__main__":
    uvicorn.run(
        f"{sys.argv[1]}:app",
        factory=True,
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )

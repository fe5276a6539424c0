"""The table of everything that is served: what is asked, and every answer that there can be."""

from typing import Final, Literal

from msgspec import Struct

from api.bodies import CompactBody, ConfigureBody, PatchBody, UndoBody
from api.openapi import parameters as told
from api.shapes import (
    Appended,
    AppendedAll,
    AppendOne,
    AppendSeveral,
    Compacted,
    Conflict,
    Contexts,
    Internal,
    InvalidRequest,
    KeyReused,
    Live,
    NotExpressible,
    NotFound,
    RateLimited,
    Ready,
    RenderedItems,
    RenderedWindow,
    Replay,
    Tail,
    Tombstoned,
    TooLarge,
    Unauthorized,
    Unavailable,
    Undone,
    Window,
)
from schemas.json_schema import Json
from streams.core.view import ContextJson

Method = Literal["get", "put", "post", "patch", "delete"]
Shape = type | tuple[type, ...]
Refusals = tuple[type, ...]

CONTEXT: Final = "/v1/contexts/{id}"
READING: Final[Refusals] = (InvalidRequest, Unauthorized, RateLimited, Internal, Unavailable)
OF_ONE: Final[Refusals] = (*READING, NotFound)
WRITING: Final[Refusals] = (*READING, TooLarge, KeyReused, Tombstoned)
EVENT_STREAM: Final = "text/event-stream"


class Operation(Struct, frozen=True, kw_only=True):
    """`answers`: what is in the body, by status; None for no body, a text for a media type, several
    where it is one of them. `refusals`: the errors, each with its code. `open`: no key is wanted.
    `streams`: what is told goes on and on."""

    method: Method
    path: str
    name: str
    summary: str
    answers: dict[int, Shape | str | None]
    refusals: Refusals
    query: tuple[Json, ...] = ()
    headers: tuple[str, ...] = ()
    body: Shape | None = None
    open: bool = False

    @property
    def writes(self) -> bool:
        """Whether it appends an event, under an idempotency key."""
        return self.method != "get"


OPERATIONS: Final = (
    Operation(
        method="get",
        path="/v1/contexts",
        name="listContexts",
        summary="Lists contexts of all nodes, in the order of the bytes of their ids",
        query=(told.PREFIX, told.CONTEXTS_LIMIT, told.AFTER),
        answers={200: Contexts},
        refusals=READING,
    ),
    Operation(
        method="put",
        path=CONTEXT,
        name="putContext",
        summary="Creates a context, or changes its settings",
        body=ConfigureBody,
        answers={200: ContextJson, 201: ContextJson},
        refusals=WRITING,
    ),
    Operation(
        method="get",
        path=CONTEXT,
        name="getContext",
        summary="Settings and state of a context",
        answers={200: ContextJson},
        refusals=OF_ONE,
    ),
    Operation(
        method="delete",
        path=CONTEXT,
        name="deleteContext",
        summary="Closes a context for good; what was said stays readable",
        answers={204: None},
        refusals=OF_ONE,
    ),
    Operation(
        method="patch",
        path=f"{CONTEXT}/metadata",
        name="patchMetadata",
        summary="Merges top-level keys of the metadata; a null takes its key away",
        body=PatchBody,
        answers={200: ContextJson},
        refusals=(*WRITING, NotFound),
    ),
    Operation(
        method="post",
        path=f"{CONTEXT}/messages",
        name="appendMessages",
        summary="Appends one message, or several, all or nothing",
        body=(AppendOne, AppendSeveral),
        answers={201: (Appended, AppendedAll)},
        refusals=(*WRITING, NotFound, Conflict),
    ),
    Operation(
        method="get",
        path=f"{CONTEXT}/messages",
        name="replayMessages",
        summary="Replays the history, hot or archived",
        query=(told.FROM_SEQ, told.BEFORE_SEQ, told.MESSAGES_LIMIT),
        answers={200: Replay},
        refusals=OF_ONE,
    ),
    Operation(
        method="get",
        path=f"{CONTEXT}/tail",
        name="readTail",
        summary="Pages back from the newest message",
        query=(told.MESSAGES_LIMIT, told.OFFSET),
        answers={200: Tail},
        refusals=OF_ONE,
    ),
    Operation(
        method="get",
        path=f"{CONTEXT}/context",
        name="readWindow",
        summary="The window: what the model sees",
        query=(told.BUDGET_TOKENS, told.IF_VERSION, told.MIN_VERSION, told.FORMAT),
        answers={200: (Window, RenderedWindow, RenderedItems)},
        refusals=(*OF_ONE, Conflict, NotExpressible),
    ),
    Operation(
        method="post",
        path=f"{CONTEXT}/compact",
        name="compactWindow",
        summary="Replaces the whole window; the history stays as it is",
        body=CompactBody,
        answers={200: Compacted},
        refusals=(*WRITING, NotFound, Conflict),
    ),
    Operation(
        method="post",
        path=f"{CONTEXT}/undo",
        name="undoMessages",
        summary="Undoes every message from a seq on; the history keeps them",
        body=UndoBody,
        answers={200: Undone},
        refusals=(*WRITING, NotFound, Conflict),
    ),
    Operation(
        method="get",
        path=f"{CONTEXT}/events",
        name="followByEvents",
        summary="Follows a context by server-sent events",
        query=(told.CURSOR, told.INCLUDE_MESSAGES),
        headers=("LastEventId",),
        answers={200: EVENT_STREAM},
        refusals=OF_ONE,
    ),
    Operation(
        method="get",
        path=f"{CONTEXT}/stream",
        name="followByWebsocket",
        summary="Follows a context over a websocket: each word is a Frame in JSON",
        query=(told.CURSOR, told.INCLUDE_MESSAGES),
        answers={101: None},
        refusals=(Unauthorized, RateLimited),
    ),
    Operation(
        method="get",
        path="/health/live",
        name="live",
        summary="Whether the process serves",
        answers={200: Live},
        refusals=(),
        open=True,
    ),
    Operation(
        method="get",
        path="/health/ready",
        name="ready",
        summary="Whether the node can answer",
        answers={200: Ready},
        refusals=(Unavailable,),
        open=True,
    ),
    Operation(
        method="get",
        path="/metrics",
        name="metrics",
        summary="Figures for Prometheus",
        answers={200: "text/plain"},
        refusals=(Unauthorized, RateLimited),
    ),
    Operation(
        method="get",
        path="/openapi.json",
        name="openapi",
        summary="This document",
        answers={200: "application/json"},
        refusals=(Unauthorized, RateLimited),
    ),
)

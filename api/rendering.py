"""A window in the shape of a provider, as `GET …/context?format=` answers it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.requests import Request

from api.problems import Problem, invalid
from formats.problems import NotExpressible
from formats.rendering import RENDERERS, render
from streams.core.head import Live, Segment, Summary
from streams.core.window import Shown

RENDERED_AT_ONCE_BYTES_MAX: Final = 64 << 10
"""A larger window is rendered in a thread: a megabyte takes some 20 ms."""


def format_of(request: Request) -> str | None:
    """The format that is asked for, None for the messages as they are stored."""
    kind = request.query_params.get("format")
    if kind is not None and kind not in RENDERERS:
        raise invalid(f"format has to be one of {', '.join(RENDERERS)}, or left out", "format")
    return kind


async def rendered(kind: str, shown: Shown, *, begin: int) -> bytes:
    """What stands in the place of `messages`, as the fields of an object. `begin`: the seq of the
    first message that is not undone. Raises `Problem`."""
    size_bytes = sum(map(len, shown.messages))
    since = unchanged_since(shown.segments, begin)
    if size_bytes <= RENDERED_AT_ONCE_BYTES_MAX:
        return _rendered(kind, shown.messages, since)
    return await asyncio.to_thread(_rendered, kind, shown.messages, since)


def _rendered(kind: str, messages: Sequence[bytes], since: int | None) -> bytes:
    try:
        found = render(kind, messages, since)
    except NotExpressible as exc:
        where = "a message of the summary" if exc.seq is None else f"message {exc.seq}"
        raise Problem(
            "not_expressible",
            f"{where}: {exc.message}; take it out of the window (compact, or skip_parts)",
            **({} if exc.seq is None else {"seq": exc.seq}),
        ) from None
    answer = {"format": kind, **found.fields, "left_out": found.left_out}
    return msgspec.json.encode(answer)[1:-1]


def unchanged_since(segments: Sequence[Segment], begin: int) -> int | None:
    """The version since which the window has only grown; None where that is not known.

    Its oldest place goes first, so that a summary that is whole, or else the first message of all
    (`begin`), shows that nothing has gone. What is undone goes from the end: what stands behind it
    was said later.
    """
    match segments:
        case []:
            return 0
        case [Summary(first=0, kinds=()) as summary, *rest]:
            since = summary.version
        case [Live(from_seq=first), *_] if first <= begin:
            since, rest = 0, list(segments)
        case _:
            return None
    lessened = any(isinstance(live, Live) and live.shown_to > 0 for live in rest)
    return None if lessened else since

"""Rows of the archive: a message's JSON as it is served, and what SQL asks about it; an undo."""

from datetime import datetime
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from schemas.codec import Unreadable, reason
from schemas.facts import UndoAccepted

BIGINT_MAX: Final = (1 << 63) - 1
NUL: Final = "\0"
NUL_SHOWN: Final = "\ufffd"
"""No text column holds NUL. The body keeps it; only the role's column shows this in its place."""

_Positive = Annotated[int, Meta(ge=1, le=BIGINT_MAX)]


class _Shown(Struct):
    seq: _Positive
    version: _Positive
    role: str
    token_count: Annotated[int, Meta(ge=0, le=BIGINT_MAX)]
    inserted_at: Annotated[datetime, Meta(tz=True)]


_decoder = msgspec.json.Decoder(_Shown)


class ArchiveRow(Struct, frozen=True, gc=False):
    """`body` is the JSON that a reader gets; a healed row has no event. Thousands of them live at
    once, and none can be part of a cycle."""

    partition: int
    context_id: str
    seq: int
    version: int
    role: str
    body: bytes
    token_count: int
    event_id: str | None
    inserted_at: datetime


class ArchiveUndo(NamedTuple):
    """`undone` messages between `from_seq` and `to_seq` were undone by this event."""

    partition: int
    context_id: str
    version: int
    from_seq: int
    to_seq: int
    undone: int
    event_id: str


def undo_of(partition: int, context_id: str, undo: UndoAccepted) -> ArchiveUndo:
    """What SQL is told of an undo. Raises `Unreadable`."""
    numbers = (undo.version, undo.from_seq, undo.to_seq, undo.undone)
    if not all(1 <= number <= BIGINT_MAX for number in numbers):
        raise Unreadable(f"an undo with numbers that none has: {numbers}")
    return ArchiveUndo(partition, context_id, *numbers, undo.event_id)


def row_of(partition: int, context_id: str, body: bytes, event_id: str | None) -> ArchiveRow:
    """Read what SQL needs out of a message's JSON. Raises `Unreadable`."""
    try:
        shown = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise Unreadable(f"not a message as readers get it: {reason(exc)}") from None
    return ArchiveRow(
        partition,
        context_id,
        shown.seq,
        shown.version,
        shown.role.replace(NUL, NUL_SHOWN),
        body,
        shown.token_count,
        event_id,
        shown.inserted_at,
    )

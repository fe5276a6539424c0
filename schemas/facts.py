"""Facts: what came of a log event, as records of `rewindow.facts` (CloudEvents 1.0).

`(subject, data.version, type)` identifies a fact, for messages together with `data.message.seq`.
Deliveries may repeat after a `rebuild`; the id is the same each time.
"""

from msgspec import Raw, Struct


class MessageAccepted(Struct, frozen=True):
    """A message has its seq. `message` is the JSON that every reader gets, byte for byte."""

    event_id: str
    message: Raw


class UndoAccepted(Struct, frozen=True):
    """Messages are undone, so many as `undone` says. From `from_seq` to `to_seq` none stands; some
    of those between the two may have been undone before."""

    event_id: str
    version: int
    from_seq: int
    to_seq: int
    undone: int


class WindowChanged(Struct, frozen=True):
    """Something left the window, or a compaction replaced it; seqs and tokens after the change."""

    event_id: str
    version: int
    used_tokens: int
    needs_compaction: bool
    segments: tuple[dict[str, str | int], ...]


class ContextChanged(Struct, frozen=True):
    """Settings, metadata or status changed; `context` is what GET /v1/contexts/{id} answers."""

    event_id: str
    version: int
    context: Raw


class RequestRefused(Struct, frozen=True):
    """A log event was understood and refused. `error` is the code that HTTP gives for it."""

    event_id: str
    version: int
    error: str
    message: str


Fact = MessageAccepted | UndoAccepted | WindowChanged | ContextChanged | RequestRefused

FACT_TYPES: dict[str, type[Fact]] = {
    "message.accepted.v1": MessageAccepted,
    "undo.accepted.v1": UndoAccepted,
    "window.changed.v1": WindowChanged,
    "context.changed.v1": ContextChanged,
    "request.refused.v1": RequestRefused,
}

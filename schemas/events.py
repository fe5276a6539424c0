"""Log events: what was said or asked, as records of `rewindow.log` (CloudEvents 1.0).

The class names say what happened; the `type` on the wire is the name in `EVENT_TYPES`. A field
that appears later is optional; a change of meaning is a new type, and the old one stays readable.
"""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from schemas.limits import (
    MESSAGES_PER_APPEND_MAX,
    REPLACEMENT_MESSAGES_MAX,
    ROLE_CHARS_MAX,
    TOKEN_BUDGET_MAX,
    TOKEN_COUNT_MAX,
    WATERMARKS_PER_EVENT_MAX,
)
from schemas.policy import Policy
from schemas.trail import NO_TRAIL, Trail

Role = Annotated[str, Meta(min_length=1, max_length=ROLE_CHARS_MAX)]
TokenCount = Annotated[int, Meta(ge=0, le=TOKEN_COUNT_MAX)]
TokenBudget = Annotated[int, Meta(ge=1, le=TOKEN_BUDGET_MAX)]
TriggerRatio = Annotated[float, Meta(gt=0, le=1)]
Version = Annotated[int, Meta(ge=0)]
Seq = Annotated[int, Meta(ge=0)]
SaidSeq = Annotated[int, Meta(ge=1)]

EncodingName = Literal["o200k_base", "cl100k_base", "approximate"]

EMPTY_OBJECT = Raw(b"{}")
NULL = Raw(b"null")


class Message(Struct, frozen=True, omit_defaults=True):
    """One entry as it was said. `parts` and `metadata` are JSON that is kept to the letter.

    `parts` is a JSON list of objects, each with a `type`; `token_count` is the sender's own count,
    in tokens, used as it is; `id` is the sender's own name for the message.
    """

    role: Role
    parts: Raw
    token_count: TokenCount | None = None
    metadata: Raw = EMPTY_OBJECT
    id: str | None = None


class Counted(Struct, frozen=True):
    """Token counts made before the fold: one per message, by the rule named (encoding/version).

    The fold takes them when the rule is the one that it would use itself, else it counts again.
    """

    rule: str
    token_counts: tuple[TokenCount, ...]


class ContextConfigured(Struct, frozen=True, omit_defaults=True):
    """A context is created or its settings change; what is left out, or null, keeps its value."""

    token_budget: TokenBudget | None = None
    trigger_ratio: TriggerRatio | None = None
    policy: Policy | None = None
    encoding: EncodingName | None = None
    # Not `Raw | None`: of such a union msgspec reads nothing but null.
    metadata: Raw = NULL


class MessageAppended(Struct, frozen=True, omit_defaults=True):
    """1 to 100 messages are said, all or nothing. `create`: whether an unknown context is made."""

    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MESSAGES_PER_APPEND_MAX)]
    if_version: Version | None = None
    create: bool = True
    counted: Counted | None = None


class WindowCompacted(Struct, frozen=True, omit_defaults=True):
    """The whole window is replaced by these messages; the log of messages is untouched."""

    replacement: Annotated[tuple[Message, ...], Meta(max_length=REPLACEMENT_MESSAGES_MAX)]
    if_version: Version | None = None
    counted: Counted | None = None


class MessagesUndone(Struct, frozen=True, omit_defaults=True):
    """Every message that still stands from `from_seq` on is undone: it stays in the log, keeps its
    seq, and leaves the window and the tail."""

    from_seq: SaidSeq
    if_version: Version | None = None


class MetadataPatched(Struct, frozen=True):
    """Top-level keys are merged into the context's metadata; a null takes its key away."""

    metadata: Raw


class ContextTombstoned(Struct, frozen=True):
    """The context is closed for good; what was said stays readable."""


class ArchiveAdvanced(Struct, frozen=True):
    """Postgres holds each named context up to and including the seq beside it.

    `tail_keep` (messages) travels with the event, so that a replay trims exactly what was trimmed.
    """

    watermarks: Annotated[tuple[tuple[str, Seq], ...], Meta(max_length=WATERMARKS_PER_EVENT_MAX)]
    tail_keep: Annotated[int, Meta(ge=0)]


EventData = (
    ContextConfigured
    | MessageAppended
    | WindowCompacted
    | MessagesUndone
    | MetadataPatched
    | ContextTombstoned
    | ArchiveAdvanced
)

EVENT_TYPES: dict[str, type[EventData]] = {
    "context.configured.v1": ContextConfigured,
    "message.appended.v1": MessageAppended,
    "window.compacted.v1": WindowCompacted,
    "messages.undone.v1": MessagesUndone,
    "metadata.patched.v1": MetadataPatched,
    "context.tombstoned.v1": ContextTombstoned,
    "archive.advanced.v1": ArchiveAdvanced,
}


class LogEvent(Struct, frozen=True):
    """A decoded record of the log. `id` is the idempotency key, `subject` the context id. The fold
    does not look at the `trail`."""

    id: str
    subject: str
    source: str
    data: EventData
    trail: Trail = NO_TRAIL

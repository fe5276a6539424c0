"""The shapes of bodies and answers as documents show them (see `api.openapi`).

Nothing is read or written by them: routes join stored bytes. Tests hold that these shapes come out.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from api.bodies import MessageBody
from schemas.events import EncodingName, Version
from schemas.facts import ContextChanged, MessageAccepted, RequestRefused, WindowChanged
from schemas.json_schema import CONTEXT_ID, Instead
from schemas.limits import MESSAGES_PER_APPEND_MAX
from schemas.policy import Policy
from streams.core.outcome import RefusalCode
from streams.core.rows import MessageJson
from streams.core.view import ContextJson

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
ContextId = Annotated[str, Meta(extra_json_schema=CONTEXT_ID)]


class AppendOne(Struct, forbid_unknown_fields=True):
    """One message."""

    message: MessageBody
    messages: None = None
    if_version: Version | None = None


class AppendSeveral(Struct, forbid_unknown_fields=True):
    """Several messages, all or nothing in order."""

    messages: Annotated[list[MessageBody], Meta(min_length=1, max_length=MESSAGES_PER_APPEND_MAX)]
    message: None = None
    if_version: Version | None = None


class Segment(Struct):
    """A run of the window: a summary stands for these seqs, a live one shows them as they are."""

    type: Literal["summary", "live"]
    from_seq: Count
    to_seq: Count


class Contexts(Struct):
    """A page of contexts; `next` is the `after` of the next one, null at the end."""

    contexts: list[ContextJson]
    next: ContextId | None


class Appended(Struct):
    """One message is in. `token_estimate`: what it counts in the window."""

    seq: Positive
    version: Positive
    token_estimate: Count


class AppendedAll(Struct):
    """Several messages are in, one seq after the other."""

    first_seq: Positive
    last_seq: Positive
    version: Positive
    token_estimates: list[Count]


class Tail(Struct):
    """A page counted back from the newest message, in chronological order."""

    messages: list[MessageJson]


class Replay(Struct):
    """A page of the history. `next_seq`: where the next page begins, null where there is none.
    `undone`: the ranges of undone messages that have a part in the page, whole."""

    messages: list[MessageJson]
    version: Count
    last_seq: Count
    next_seq: Positive | None
    undone: list["Range"]


class Window(Struct):
    """What the model sees. `over_budget`: the newest message alone is larger than the budget."""

    version: Count
    messages: list[MessageJson]
    used_tokens: Count
    token_budget: Positive
    needs_compaction: bool
    segments: list[Segment]
    over_budget: Literal[True] | UnsetType = UNSET
    format: None = None


class RenderedWindow(Struct):
    """The window in the shape of a provider whose requests have `messages`; `system`: Anthropic's.
    `left_out`: how many parts are not in it, by their types."""

    version: Count
    format: Literal["openai-chat", "anthropic", "ai-sdk"]
    messages: list[dict[str, Any]]
    left_out: dict[str, Count]
    used_tokens: Count
    token_budget: Positive
    needs_compaction: bool
    segments: list[Segment]
    system: list[dict[str, Any]] | UnsetType = UNSET
    over_budget: Literal[True] | UnsetType = UNSET


class RenderedItems(Struct):
    """The window as the `input` of OpenAI's Responses."""

    version: Count
    format: Literal["openai-responses"]
    input: list[dict[str, Any]]
    left_out: dict[str, Count]
    used_tokens: Count
    token_budget: Positive
    needs_compaction: bool
    segments: list[Segment]
    over_budget: Literal[True] | UnsetType = UNSET


class Compacted(Struct):
    """The window holds the replacement since `version`."""

    version: Positive


class Undone(Struct):
    """So many messages are undone since `version`; from the one seq to the other none stands. Where
    none was left to undo, the seqs are null, and the version is what it was."""

    version: Count
    undone: Count
    from_seq: Positive | None
    to_seq: Positive | None


class Live(Struct, tag_field="status", tag="ok"):
    """The process serves."""


class Ready(Struct, tag_field="status", tag="ready"):
    """The node can answer. `notes`: what is wrong beside."""

    notes: list[str]


class Range(Struct):
    """Seqs, both included."""

    from_seq: Count
    to_seq: Count


class MessageFrame(Struct, tag_field="type", tag="message"):
    """A message was appended."""

    version: Count
    seq: Positive
    message: MessageJson


class ContextFrame(Struct, tag_field="type", tag="context"):
    """How the window stands after a change."""

    version: Count
    used_tokens: Count
    needs_compaction: bool


class CompactionFrame(Struct, tag_field="type", tag="compaction"):
    """The window was replaced; its summary stands for the range."""

    version: Count
    range: Range


class UndoneFrame(Struct, tag_field="type", tag="undone"):
    """None of these messages stands any more."""

    version: Count
    range: Range


class TombstonedFrame(Struct, tag_field="type", tag="tombstoned"):
    """The context was deleted; nothing comes after it."""

    version: Count


class ResetFrame(Struct, tag_field="type", tag="reset"):
    """The context was made anew from the log and is at an older version than you have seen."""

    version: Count


class GapFrame(Struct, tag_field="type", tag="gap"):
    """Versions from `expected` to before `actual` are no longer hot: read `/messages`, go on."""

    expected: Count
    actual: Count


class PingFrame(Struct, tag_field="type", tag="ping"):
    """A sign of life, to be answered by `{"type":"pong"}` over a websocket."""


Frame = (
    MessageFrame
    | ContextFrame
    | CompactionFrame
    | UndoneFrame
    | TombstonedFrame
    | ResetFrame
    | GapFrame
    | PingFrame
)


class InvalidRequest(Struct, tag_field="error", tag="invalid_request"):
    """It can't be understood. `field`: what is wrong, where it is one."""

    message: str
    field: str | UnsetType = UNSET


class Unauthorized(Struct, tag_field="error", tag="unauthorized"):
    """A valid API key is missing."""

    message: str


class NotFound(Struct, tag_field="error", tag="not_found"):
    """There is no such context, or nothing under this path."""

    message: str


class Conflict(Struct, tag_field="error", tag="conflict"):
    """`if_version` is not the version, which is `version`."""

    message: str
    version: Count


class Tombstoned(Struct, tag_field="error", tag="tombstoned"):
    """The context was deleted."""

    message: str


class TooLarge(Struct, tag_field="error", tag="too_large"):
    """More than a limit allows, which the sentence names."""

    message: str


class KeyReused(Struct, tag_field="error", tag="idempotency_key_reused"):
    """The idempotency key was used with another body."""

    message: str


class NotExpressible(Struct, tag_field="error", tag="not_expressible"):
    """The format has no place for something in the window. `seq`: of the message, unless it is one
    of a summary."""

    message: str
    seq: Positive | UnsetType = UNSET


class RateLimited(Struct, tag_field="error", tag="rate_limited"):
    """Too many requests, or too many live streams. `retry_after`, in seconds."""

    message: str
    retry_after: Positive


class Internal(Struct, tag_field="error", tag="internal"):
    """A bug, which the node's log has under `trace_id`."""

    message: str
    trace_id: str


class Unavailable(Struct, tag_field="error", tag="unavailable"):
    """Not now; ask again in `retry_after` seconds. `problems`: why the node is not ready."""

    message: str
    retry_after: Positive
    problems: list[str] | UnsetType = UNSET


READERS: Final[Instead] = {
    (MessageJson, "version"): Positive,
    (MessageJson, "token_count"): Count,
    (MessageJson, "inserted_at"): Moment,
    (MessageJson, "seq"): Positive,
    (MessageJson, "id"): str,
    (ContextJson, "id"): ContextId,
    (ContextJson, "status"): Literal["active", "tombstoned"],
    (ContextJson, "policy"): Policy,
    (ContextJson, "encoding"): EncodingName,
    (ContextJson, "created_at"): Moment,
    (ContextJson, "updated_at"): Moment,
    (MessageAccepted, "message"): Annotated[
        MessageJson, Meta(extra_json_schema={"required": ["seq"]})
    ],
    (WindowChanged, "segments"): list[Segment],
    (ContextChanged, "context"): ContextJson,
    (RequestRefused, "error"): RefusalCode,
    # A message may be sent back as it was read.
    (MessageBody, "metadata"): dict[str, Any] | None,
}
"""What is JSON already where it is written, and more than its type tells: see `Components`."""

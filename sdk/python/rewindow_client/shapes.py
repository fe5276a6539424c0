"""What is sent and what comes back. A field that a newer server adds is passed over."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from msgspec import Struct, field
from msgspec.structs import asdict

Json = dict[str, Any]


class NewMessage(TypedDict):
    """A message as it is said. `parts`: objects with a `type`; `token_count`: your own count, in
    tokens; `id`: your own name for the message."""

    role: str
    parts: list[Json]
    token_count: NotRequired[int]
    metadata: NotRequired[Json]
    id: NotRequired[str]


class Message(Struct, frozen=True, kw_only=True):
    """A message as it is read; it can be sent back as it is. `inserted_at` is RFC 3339.

    What a compaction put into the window has no `seq` of its own. `undone` is known of messages of
    the history; in the tail and in the window no undone message stands.
    """

    role: str
    parts: list[Json]
    token_count: int
    version: int
    inserted_at: str
    metadata: Json
    seq: int | None = None
    id: str | None = None
    undone: bool = False

    @property
    def text(self) -> str:
        """What its text parts say, one after the other."""
        return "".join(str(part.get("text", "")) for part in self.parts if part["type"] == "text")


AnyMessage = NewMessage | Message | Mapping[str, Any]
"""What can be appended, or stand in a replacement."""


def text(role: str, text: str) -> NewMessage:
    """A message of one text part."""
    return {"role": role, "parts": [{"type": "text", "text": text}]}


def sent(message: AnyMessage) -> Json:
    """A message as it goes out."""
    if not isinstance(message, Message):
        return dict(message)
    said = {name: value for name, value in asdict(message).items() if value is not None}
    del said["undone"]
    return said


class Settings(TypedDict, total=False):
    """What a context can be told; what is left out, or None, has its default, or keeps its value.

    `token_budget` in tokens; above `trigger_ratio` of it the policy runs; `encoding` is how tokens
    are counted.
    """

    token_budget: int | None
    trigger_ratio: float | None
    policy: Json | None
    encoding: Literal["o200k_base", "cl100k_base", "approximate"] | None
    metadata: Json | None


class ContextState(Struct, frozen=True, kw_only=True):
    """Settings and state of a context. Times are RFC 3339; budgets and counts, tokens."""

    id: str
    status: Literal["active", "tombstoned"]
    token_budget: int
    trigger_ratio: float
    policy: Json
    encoding: str
    metadata: Json
    version: int
    last_seq: int
    archived_seq: int
    used_tokens: int
    needs_compaction: bool
    created_at: str
    updated_at: str


class Contexts(Struct, frozen=True):
    """A page of contexts; `next` is the `after` of the next one, None at the end."""

    contexts: list[ContextState]
    next: str | None


class Appended(Struct, frozen=True):
    """Messages are in, one seq after the other. `token_estimates`: what each counts, in tokens."""

    first_seq: int
    last_seq: int
    version: int
    token_estimates: list[int]


class Compacted(Struct, frozen=True):
    """The window holds the replacement since `version`."""

    version: int


class Undone(Struct, frozen=True):
    """So many messages were undone, from the one seq to the other; where none stood there any more,
    these are None, and the version is what it was."""

    version: int
    undone: int
    from_seq: int | None
    to_seq: int | None


class Segment(Struct, frozen=True):
    """A run of the window: a summary stands for these seqs, a live one shows them as they are."""

    type: Literal["summary", "live"]
    from_seq: int
    to_seq: int


class Window(Struct, frozen=True, kw_only=True):
    """What the model sees. `over_budget`: the newest message alone is larger than the budget."""

    version: int
    messages: list[Message]
    used_tokens: int
    token_budget: int
    needs_compaction: bool
    segments: list[Segment]
    over_budget: bool = False


class RenderedWindow(Struct, frozen=True, kw_only=True):
    """The window in the shape that a provider takes. `request`: what goes into its request, under
    the provider's own names, such as `messages`; `left_out`: how many parts of each type it is not
    shown."""

    format: str
    version: int
    used_tokens: int
    token_budget: int
    needs_compaction: bool
    segments: list[Segment]
    over_budget: bool = False
    left_out: dict[str, int] = {}
    request: Json = field(default_factory=dict)


class Tail(Struct, frozen=True):
    """A page counted back from the newest message, in chronological order."""

    messages: list[Message]


class Range(Struct, frozen=True):
    """Seqs, both included."""

    from_seq: int
    to_seq: int


class Page(Struct, frozen=True):
    """A page of the history. `next_seq`: where the next one begins, None where there is none;
    `undone`: the seqs on it that were undone."""

    messages: list[Message]
    version: int
    last_seq: int
    next_seq: int | None
    undone: list[Range] = []

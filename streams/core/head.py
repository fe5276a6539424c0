"""The head: everything of a context but its messages. Its size does not grow with the conversation.

The window is a list of segments, each a range of numbers: a `Summary` stands for older messages,
a `Live` range shows messages as they were said. There is never more than one of each today, the
summary first; nothing outside `streams.core` depends on that.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.events import EncodingName
from schemas.limits import TOKEN_BUDGET_DEFAULT, TRIGGER_RATIO_DEFAULT
from schemas.policy import POLICY_DEFAULT, Policy

RULES = 1
"""The version of the fold's rules that wrote a head. A change that alters results raises it."""


class Summary(Struct, frozen=True, tag="summary", array_like=True):
    """Replacement messages `first` to `end - 1` of the compaction that made `version`.

    They stand for the messages `from_seq` to `to_seq`. `kinds`: the part kinds already dropped.
    """

    version: int
    first: int
    end: int
    from_seq: int
    to_seq: int
    kinds: tuple[str, ...] = ()


class Live(Struct, frozen=True, tag="live", array_like=True):
    """The messages `from_seq` to `to_seq`. Up to `shown_to`, parts of `kinds` have been dropped:
    a message that lost some has a shown form, which is what the window shows."""

    from_seq: int
    to_seq: int
    shown_to: int = 0
    kinds: tuple[str, ...] = ()


Segment = Summary | Live


class Window(Struct, frozen=True, array_like=True):
    """What the model sees. `entries`: messages shown; `used_tokens`: what they count together."""

    segments: tuple[Segment, ...] = ()
    entries: int = 0
    used_tokens: int = 0


class ControlAnswer(Struct, frozen=True, array_like=True):
    """What a PUT, PATCH or compaction was answered, kept for retries with the same key."""

    event_hash: bytes
    digest: bytes
    version: int
    created: bool = False


class UndoAnswer(Struct, frozen=True, array_like=True):
    """What an undo was answered, kept for retries with the same key: see `outcome.Undone`."""

    event_hash: bytes
    digest: bytes
    version: int
    undone: int
    from_seq: int
    to_seq: int


class Undos(Struct, frozen=True, array_like=True):
    """`ranges`: how many rows tell which messages are undone, see `streams.core.undone`."""

    ranges: int = 0
    answers: tuple[UndoAnswer, ...] = ()


class Head(Struct, frozen=True, array_like=True):
    """Times in milliseconds of the broker's clock; `offset` is the fence: the log offset of the
    last event folded into this head. `trimmed_version`: of the newest message that was trimmed."""

    offset: int
    created_at: int
    updated_at: int
    version: int = 0
    last_seq: int = 0
    archived_seq: int = 0
    trimmed_seq: int = 0
    status: Literal["active", "tombstoned"] = "active"
    token_budget: int = TOKEN_BUDGET_DEFAULT
    trigger_ratio: float = TRIGGER_RATIO_DEFAULT
    policy: Policy = POLICY_DEFAULT
    encoding: EncodingName = "o200k_base"
    metadata: bytes = b"{}"
    window: Window = Window()
    answers: tuple[ControlAnswer, ...] = ()
    rules: int = RULES
    trimmed_version: int = 0
    undos: Undos = Undos()

    @property
    def needs_compaction(self) -> bool:
        """Whether what is in the window is above the trigger."""
        return self.window.used_tokens > self.token_budget * self.trigger_ratio


_encoder = msgspec.msgpack.Encoder()
NO_UNDOS: Final = Undos()
_NO_UNDOS: Final = _encoder.encode(NO_UNDOS)
# How msgpack begins a list of more than 15: its number of fields, in two bytes.
_FIELDS: Final = b"\xdc" + len(Head.__struct_fields__).to_bytes(2, "big")
_FIELDS_BEFORE: Final = b"\xdc" + (len(Head.__struct_fields__) - 1).to_bytes(2, "big")
_decoder = msgspec.msgpack.Decoder(Head)


def encode_head(head: Head) -> bytes:
    """The value of the head's row in `windows`.

    Undos came later. Where there was none, the row is what it was before they came, to the byte, so
    that heads that nobody has touched since then are still what a replay of the log gives.
    """
    row = _encoder.encode(head)
    if head.undos == NO_UNDOS:
        return _FIELDS_BEFORE + row[len(_FIELDS) : -len(_NO_UNDOS)]
    return row


def decode_head(row: bytes) -> Head:
    """Read the value of a head's row."""
    return _decoder.decode(row)

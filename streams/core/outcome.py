"""What a log event came to: the fold's answer to whoever asked. A refusal is a value."""

from typing import Literal

from msgspec import Struct

RefusalCode = Literal[
    "not_found", "conflict", "tombstoned", "too_large", "idempotency_key_reused", "invalid_request"
]


class Appended(Struct, frozen=True):
    """Messages `first_seq` to `last_seq` are in; `replayed`: they were, under the same key."""

    first_seq: int
    last_seq: int
    version: int
    token_counts: tuple[int, ...]
    replayed: bool = False


class Configured(Struct, frozen=True):
    """The context has these settings; `created`: it did not exist before."""

    created: bool
    replayed: bool = False


class Compacted(Struct, frozen=True):
    """The window holds the replacement since `version`."""

    version: int
    replayed: bool = False


class Undone(Struct, frozen=True):
    """So many messages are `undone`, between `from_seq` and `to_seq`, since `version`; where none
    was, both are 0, and the version is what it was."""

    version: int
    undone: int
    from_seq: int
    to_seq: int
    replayed: bool = False


class Patched(Struct, frozen=True):
    """The metadata are merged."""

    replayed: bool = False


class Tombstoned(Struct, frozen=True):
    """The context is closed, now or before."""


class Advanced(Struct, frozen=True):
    """The watermark is where the event says."""


class Stale(Struct, frozen=True):
    """The head had passed this offset before: the record was delivered again."""


class Refused(Struct, frozen=True):
    """Understood and refused. `version` is the context's, 0 where there is none."""

    code: RefusalCode
    message: str
    version: int = 0


class Unread(Struct, frozen=True):
    """The record went to `rewindow.dead`; `reason` says why."""

    reason: str


Outcome = (
    Appended
    | Configured
    | Compacted
    | Undone
    | Patched
    | Tombstoned
    | Advanced
    | Stale
    | Refused
    | Unread
)

"""News: what happened to a context, as whoever follows it is told, one version after the other."""

from typing import assert_never

from msgspec import Struct

from schemas.facts import MessageAccepted
from streams.core.fold import Folded
from streams.core.head import Head, Summary
from streams.core.outcome import (
    Advanced,
    Appended,
    Compacted,
    Configured,
    Patched,
    Refused,
    Stale,
    Tombstoned,
    Undone,
    Unread,
)
from streams.core.undone import UndoneRange


class Said(Struct, frozen=True):
    """A message, as the JSON that every reader gets. `last`: whether it ends its append, so that
    everything of `version` has been told."""

    version: int
    seq: int
    message: bytes
    last: bool


class Replaced(Struct, frozen=True):
    """A compaction: the window's summary stands for these seqs since `version`."""

    version: int
    from_seq: int
    to_seq: int


class Undid(Struct, frozen=True):
    """An undo: none of these messages stands any more since `version`."""

    version: int
    from_seq: int
    to_seq: int


class State(Struct, frozen=True):
    """How the window stands after a change."""

    version: int
    used_tokens: int
    needs_compaction: bool


class Ended(Struct, frozen=True):
    """The context was tombstoned; nothing comes after it."""

    version: int


class Gap(Struct, frozen=True):
    """Messages from version `expected` on are no longer hot; what follows begins at `actual`."""

    expected: int
    actual: int


class Reset(Struct, frozen=True):
    """The context is at an older version than the follower has seen: it was made anew."""

    version: int


News = Said | Replaced | Undid | State | Ended | Gap | Reset


def news_of(folded: Folded) -> list[News]:
    """What followers are told of a folded event. A watermark is no news."""
    head = folded.head
    if head is None or not folded.changed:
        return []
    match folded.outcome:
        case Appended(first_seq=first, last_seq=last):
            accepted = (fact for fact in folded.facts if isinstance(fact, MessageAccepted))
            said = [
                Said(head.version, seq, bytes(fact.message), seq == last)
                for seq, fact in enumerate(accepted, start=first)
            ]
            return [*said, state_of(head)]
        case Compacted():
            return [replaced_in(head), state_of(head)]
        case Undone(version=version, undone=undone, from_seq=first, to_seq=last):
            return [Undid(version, first, last), state_of(head)] if undone else []
        case Configured() | Patched():
            return [state_of(head)]
        case Tombstoned():
            return [Ended(head.version)]
        case Advanced() | Refused() | Stale() | Unread():
            return []
        case _:
            assert_never(folded.outcome)


def state_of(head: Head) -> State:
    """How the window of a head stands."""
    return State(head.version, head.window.used_tokens, head.needs_compaction)


def replaced_in(head: Head) -> Replaced:
    """The compaction that a head comes from; an empty replacement stands for all that was said."""
    summary = summary_of(head)
    if summary is None:
        return Replaced(head.version, min(1, head.last_seq), head.last_seq)
    return Replaced(summary.version, summary.from_seq, summary.to_seq)


def undone_in(undone: UndoneRange) -> Undid:
    """The last undo that had a part in a range; it tells of the whole of it."""
    return Undid(undone.version, undone.from_seq, undone.to_seq)


def summary_of(head: Head) -> Summary | None:
    """The summary in the window, where there is one."""
    return next((s for s in head.window.segments if isinstance(s, Summary)), None)

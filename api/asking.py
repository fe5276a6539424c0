"""Events, asked of the store, and what becomes of them for the client."""

from typing import Final, assert_never

from api.problems import Decided, not_found
from schemas.events import EventData, LogEvent
from streams.core.head import Head
from streams.core.outcome import (
    Advanced,
    Appended,
    Compacted,
    Configured,
    Outcome,
    Patched,
    Refused,
    Stale,
    Tombstoned,
    Undone,
    Unread,
)
from streams.store import Answered, Store, Unavailable
from streams.trail import TRAIL

SOURCE: Final = "/rewindow/http"


async def existing(store: Store, context_id: str) -> Head:
    """The head of a context. Raises `Problem` where there is no such context."""
    head = await store.head(context_id)
    if head is None:
        raise not_found(context_id)
    return head


async def ask(store: Store, context_id: str, key: str, data: EventData) -> Answered:
    """Append an event under an idempotency key, and wait for what the fold makes of it."""
    return await store.ask(LogEvent(key, context_id, SOURCE, data, TRAIL.get()))


def unanswered(outcome: Outcome) -> Exception:
    """What to raise for an outcome that is not the one that was asked for."""
    match outcome:
        case Refused(code="conflict"):
            return Decided(outcome.code, outcome.message, version=outcome.version)
        case Refused():
            return Decided(outcome.code, outcome.message)
        case Stale():
            # The event was folded before, and its answer went to nobody.
            return Unavailable("the answer got lost; ask again with the same Idempotency-Key")
        case Unread(reason=reason):
            return AssertionError(f"we wrote an event that can't be read: {reason}")
        case (
            Appended()
            | Configured()
            | Compacted()
            | Undone()
            | Patched()
            | Tombstoned()
            | Advanced()
        ):
            return AssertionError(f"not the answer to what was asked: {outcome!r}")
        case _:
            assert_never(outcome)

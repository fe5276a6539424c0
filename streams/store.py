"""The port through which the API asks and reads. It knows no Faust, Kafka, RocksDB or Postgres."""

from collections.abc import AsyncGenerator
from typing import Protocol

from msgspec import Struct

from schemas.events import LogEvent
from streams.core.head import Head
from streams.core.outcome import Outcome
from streams.core.undone import UndoneRange
from streams.core.window import Shown
from streams.news import News


class Unavailable(Exception):
    """The store can't answer now; `retry_after_s` says when to ask again.

    After a write this means "not known": the event may be in the log. Asking again under the same
    event id is safe.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class Moved(Unavailable):
    """The context is not on this node now, or not yet: it moves, or it catches up with the log."""


class Answered(Struct, frozen=True):
    """What an event came to, and the head after it (None where there is no such context)."""

    outcome: Outcome
    head: Head | None


class Census(Struct, frozen=True):
    """Which of all `partitions` are here and caught up, and the addresses of the other nodes."""

    partitions: int
    here: frozenset[int]
    others: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[int]:
        """Every partition that there is."""
        return frozenset(range(self.partitions))


class Health(Struct, frozen=True):
    """`problems`: why the node is not ready, empty when it is; `notes`: what is wrong beside.
    `stale`: the broker does not answer, so that what is read here may be old."""

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    stale: bool = False


class Store(Protocol):
    """One node's view of the contexts that it owns. Every method may raise `Unavailable`."""

    async def ask(self, event: LogEvent) -> Answered:
        """Append an event to the log and wait for what the fold makes of it.

        Its data are sound (`schemas.codec.sound_data`): they are folded as they are here, and have
        to be what every reader of the log gets.
        """

    async def head(self, context_id: str) -> Head | None:
        """The newest head of a context, None where there is no such context."""

    def owner(self, context_id: str) -> str | None:
        """The address of the other node that has a context; None where it is here, or nobody knows
        better."""

    def census(self) -> Census:
        """Who has what."""

    async def contexts(self, prefix: str, after: str | None, limit: int) -> list[tuple[str, Head]]:
        """The contexts of this node whose ids begin with `prefix` and come after `after`, `limit`
        at most, in the order of their ids' bytes."""

    async def show(self, context_id: str, budget: int | None) -> tuple[Head, Shown] | None:
        """A context's window within `budget` tokens (see `streams.core.window.show`), with the
        head that it belongs to: both are of one version."""

    async def messages(self, context_id: str, from_seq: int, to_seq: int) -> list[bytes]:
        """The JSON of the messages `from_seq` to `to_seq`, both included, hot or archived.

        Every one of them has to exist by the head's `last_seq`; there are never holes.
        """

    async def tail(self, context_id: str, offset: int, limit: int) -> list[bytes]:
        """The JSON of the newest `limit` messages that stand, hot or archived, in order, when
        `offset` of them are passed over; fewer where there are no more."""

    async def undone(self, context_id: str, from_seq: int, to_seq: int) -> list[UndoneRange]:
        """The ranges of undone messages that hold any of `from_seq` to `to_seq`, whole and in
        order, of the same head as `head` gave when nothing was waited for in between."""

    async def at_version(self, context_id: str, version: int, timeout_s: float) -> bool:
        """Wait until the head has reached `version`; False when the time is over."""

    def follow(self, context_id: str, cursor: int | None) -> AsyncGenerator[News, None]:
        """What happens to a context that exists, after the version `cursor`; None: from now on.

        See `streams.following.follow`.
        """

    def health(self) -> Health:
        """Whether requests can be served, and why not."""

"""A world in memory: heads and rows in dictionaries, folded with the pure core event by event.

It is what a node is compared with, and it has no mechanism of its own: no batches, no tables, no
clock but the one that the offsets make.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import msgspec
from msgspec import Raw

from schemas.codec import decode_event, encode_event
from schemas.events import (
    NULL,
    ArchiveAdvanced,
    ContextConfigured,
    ContextTombstoned,
    EncodingName,
    EventData,
    LogEvent,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    WindowCompacted,
)
from schemas.facts import Fact
from schemas.policy import LastN, LastNConfig, Manual, Policy, SkipParts, SkipPartsConfig
from streams.core.fold import At, Folded, fold
from streams.core.head import Head, decode_head, encode_head
from streams.core.outcome import Outcome
from streams.core.policies import Measures
from streams.core.tokens import Measure, approximate
from streams.core.undone import Ranges
from streams.core.window import Shown, show

START_MS = 1_700_000_000_000
"""The broker's clock at offset 0; it goes on by a second an offset."""

_own_keys = count(1)


def measures(encoding: str) -> Measure:
    """Every encoding counts like `approximate`, so that no vocabulary is needed."""
    return approximate


class World:
    """`heads` and `rows` as they stand, `facts` of all that was folded, `next` the next offset."""

    def __init__(self, measures: Measures = measures) -> None:
        self.heads: dict[str, Head] = {}
        self.rows: dict[bytes, bytes] = {}
        self.facts: list[tuple[str, Fact]] = []
        self.next = 0
        self._measures = measures

    def head(self, context_id: str) -> Head | None:
        """The port `streams.core.fold.Heads`."""
        return self.heads.get(context_id)

    def get(self, key: bytes) -> bytes | None:
        """The port `streams.core.rows.Rows`."""
        return self.rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The port `streams.core.window.GetMany`."""
        return [self.rows.get(key) for key in keys]

    def fold(self, event: LogEvent, *, offset: int | None = None) -> list[Folded]:
        """Fold an event that comes next in the log, or one that is delivered again."""
        if offset is None:
            offset, self.next = self.next, self.next + 1
        return self.fold_at(event, At(offset, START_MS + 1000 * offset))

    def fold_at(self, event: LogEvent, at: At) -> list[Folded]:
        """Fold an event that a real log holds."""
        results = []
        for folded in fold(event, at, self, self, self._measures):
            self._store(folded)
            results.append(folded)
        return results

    def _store(self, folded: Folded) -> None:
        for key, value in folded.writes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        if folded.changed and folded.head is not None:
            self.heads[folded.context_id] = folded.head
        self.facts.extend((folded.context_id, fact) for fact in folded.facts)

    def take(self, event: LogEvent) -> Outcome:
        """Fold an event about one context; what it came to."""
        (folded,) = self.fold(event)
        return folded.outcome

    def take_all(self, *events: LogEvent) -> None:
        """Fold events one after the other."""
        for event in events:
            self.fold(event)

    def show(self, context_id: str = "c", budget: int | None = None) -> Shown:
        """The window as it is served within a budget, in tokens."""
        return show(self.heads[context_id], context_id.encode(), self.get_many, budget)

    def ranges(self, context_id: str = "c") -> Ranges:
        """What is undone, as the head and the rows have it."""
        count = self.heads[context_id].undos.ranges
        return Ranges(count, context_id.encode(), self.get_many)

    def tail(self, context_id: str = "c", *, offset: int = 0, limit: int = 1000) -> list[int]:
        """The seqs of the newest messages that stand, oldest first."""
        last_seq = self.heads[context_id].last_seq
        runs = self.ranges(context_id).counted_back(last_seq, offset, limit)
        return [seq for run in runs for seq in run]

    def window(self, context_id: str = "c") -> list[dict[str, Any]]:
        """The messages in the window, oldest first, decoded."""
        return [json.loads(m) for m in self.show(context_id).messages]

    def seqs(self, context_id: str = "c") -> list[int | None]:
        """The seqs in the window, None for a replacement."""
        return [message.get("seq") for message in self.window(context_id)]

    def numbered(self, kind: str, context_id: str = "c") -> dict[int, bytes]:
        """The context's rows of one kind, by the first number in their keys."""
        prefix = b"%b\0%b" % (context_id.encode(), kind.encode())
        size = len(prefix)
        return {
            int.from_bytes(key[size : size + 8], "big"): row
            for key, row in self.rows.items()
            if key.startswith(prefix)
        }

    def encoded(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """Both tables as they lie on a disk: `windows` and `tails`."""
        windows = {name.encode(): encode_head(head) for name, head in self.heads.items()}
        return windows, dict(self.rows)

    def reread(self) -> "World":
        """Another world that knows only what is on the disk of this one."""
        windows, tails = self.encoded()
        other = World(self._measures)
        other.heads = {key.decode(): decode_head(row) for key, row in windows.items()}
        other.rows = tails
        other.next = self.next
        return other


# -- events ----------------------------------------------------------------------------------------


def event(data: EventData, context: str = "c", key: str | None = None) -> LogEvent:
    """A log event as it comes out of the codec. Without a key it has one that no other has."""
    name = f"event-{next(_own_keys)}" if key is None else key
    return decode_event(context.encode(), encode_event(LogEvent(name, context, "/tests", data)))


def raw(value: object) -> Raw:
    """A value as compact JSON."""
    return Raw(msgspec.json.encode(value))


def part(kind: str = "text", text: str = "hello") -> dict[str, str]:
    """One part of a message."""
    return {"type": kind, "text": text}


def message(
    *parts: Mapping[str, object],
    tokens: int | None = None,
    role: str = "user",
    metadata: Mapping[str, object] | None = None,
    id: str | None = None,
) -> Message:
    """A message; `tokens` is the sender's own count. Without parts it says hello."""
    return Message(role, raw(parts or (part(),)), tokens, raw(metadata or {}), id)


def messages(*tokens: int) -> tuple[Message, ...]:
    """Messages of these sizes, in tokens."""
    return tuple(message(tokens=n) for n in tokens)


def append(
    *said: Message,
    context: str = "c",
    key: str | None = None,
    if_version: int | None = None,
    create: bool = True,
) -> LogEvent:
    """Messages are said."""
    return event(MessageAppended(said or (message(),), if_version, create), context, key)


def compact(
    *replacement: Message,
    context: str = "c",
    key: str | None = None,
    if_version: int | None = None,
) -> LogEvent:
    """The window is replaced."""
    return event(WindowCompacted(replacement, if_version), context, key)


def undo(
    from_seq: int = 1,
    *,
    context: str = "c",
    key: str | None = None,
    if_version: int | None = None,
) -> LogEvent:
    """Every message from a seq on is undone."""
    return event(MessagesUndone(from_seq, if_version), context, key)


def configure(
    *,
    context: str = "c",
    key: str | None = None,
    budget: int | None = None,
    trigger: float | None = None,
    policy: Policy | None = None,
    encoding: EncodingName | None = None,
    metadata: Raw = NULL,
) -> LogEvent:
    """A context is created, or its settings change."""
    return event(ContextConfigured(budget, trigger, policy, encoding, metadata), context, key)


def patch(metadata: Raw, *, context: str = "c", key: str | None = None) -> LogEvent:
    """Metadata are merged."""
    return event(MetadataPatched(metadata), context, key)


def tombstone(context: str = "c", key: str | None = None) -> LogEvent:
    """A context is closed."""
    return event(ContextTombstoned(), context, key)


def archived(upto: Mapping[str, int], tail_keep: int = 0, *, key: str | None = None) -> LogEvent:
    """Postgres holds each context up to a seq."""
    return event(ArchiveAdvanced(tuple(upto.items()), tail_keep), "watermarks", key)


# -- policies --------------------------------------------------------------------------------------


def last_n(limit: int) -> Policy:
    """The policy `last_n`."""
    return LastN(LastNConfig(limit))


def skip_parts(*kinds: str, limit: int | None = None) -> Policy:
    """The policy `skip_parts`; without kinds, its default ones."""
    config = SkipPartsConfig(limit=limit)
    return SkipParts(SkipPartsConfig(kinds, limit) if kinds else config)


def manual() -> Policy:
    """The policy `manual`."""
    return Manual()

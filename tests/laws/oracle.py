"""The window as API.md describes it, done the plain way: a list of messages, and no rows at all."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from schemas.events import (
    ContextConfigured,
    EventData,
    Message,
    MessageAppended,
    MessagesUndone,
    WindowCompacted,
)
from schemas.limits import TOKEN_BUDGET_DEFAULT, TRIGGER_RATIO_DEFAULT
from schemas.policy import POLICY_DEFAULT, LastN, Manual, Policy, SkipParts
from streams.core.tokens import approximate, count_message

_raw_list = msgspec.json.Decoder(list[Raw])


@dataclass
class Entry:
    """A message in the window; a replacement has no seq."""

    seq: int | None
    parts: list[bytes]
    tokens: int

    def without(self, kinds: tuple[str, ...]) -> "Entry":
        """The message without the parts of these kinds."""
        left = [p for p in self.parts if not json.loads(p)["type"].startswith(kinds)]
        if left == self.parts:
            return self
        return Entry(self.seq, left, min(self.tokens, count_message(approximate, left)))


@dataclass
class PlainWindow:
    """One context."""

    budget: int = TOKEN_BUDGET_DEFAULT
    ratio: float = TRIGGER_RATIO_DEFAULT
    policy: Policy = POLICY_DEFAULT
    last_seq: int = 0
    standing: set[int] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    stands_for: tuple[int, int] = (0, 0)

    @property
    def tokens(self) -> int:
        """Tokens of all that is in the window."""
        return sum(entry.tokens for entry in self.entries)

    @property
    def needs_compaction(self) -> bool:
        """Whether the window is above the trigger."""
        return self.tokens > self.budget * self.ratio

    def take(self, data: EventData) -> None:
        """Do what the event asks for; none of those that come here is ever refused."""
        match data:
            case MessageAppended(messages=messages):
                for message in messages:
                    self.last_seq += 1
                    self.standing.add(self.last_seq)
                    self.entries.append(_entry(message, self.last_seq))
                if self.needs_compaction:
                    self._run()
            case WindowCompacted(replacement=messages):
                self.stands_for = (self._oldest_seq(), self.last_seq)
                self.entries = [_entry(message, None) for message in messages]
            case MessagesUndone(from_seq=from_seq):
                self._undo({seq for seq in self.standing if seq >= from_seq})
            case ContextConfigured():
                self.budget = data.token_budget or self.budget
                self.ratio = data.trigger_ratio or self.ratio
                self.policy = data.policy or self.policy

    def _undo(self, seqs: set[int]) -> None:
        """A summary goes with the last message that it stands for."""
        self.standing -= seqs
        summed = set(range(self.stands_for[0], self.stands_for[1] + 1))
        goes = bool(summed & seqs) and not summed & self.standing
        self.entries = [
            entry
            for entry in self.entries
            if (not goes if entry.seq is None else entry.seq in self.standing)
        ]

    def _oldest_seq(self) -> int:
        if not self.entries:
            return self.last_seq
        seq = self.entries[0].seq
        return self.stands_for[0] if seq is None else seq

    def _run(self) -> None:
        match self.policy:
            case Manual():
                return
            case LastN(config=config):
                limit: int | None = config.limit
            case SkipParts(config=skip):
                limit = skip.limit
                less = [entry.without(skip.skip_kinds) for entry in self.entries]
                self.entries = [entry for entry in less if entry.parts]
        if limit is not None:
            self.entries = self.entries[-limit:]
        while self.tokens > self.budget and len(self.entries) > 1:
            self.entries.pop(0)

    def within(self, budget: int) -> list[Entry]:
        """What a read within a budget gets: the oldest messages are left out until it fits."""
        shown = list(self.entries)
        while sum(entry.tokens for entry in shown) > budget and len(shown) > 1:
            shown.pop(0)
        return shown

    def segments(self, shown: Sequence[Entry]) -> list[tuple[str, int, int]]:
        """What the segments of these messages say."""
        seqs = [entry.seq for entry in shown if entry.seq is not None]
        summary = [("summary", *self.stands_for)] if len(seqs) < len(shown) else []
        return summary + ([("live", seqs[0], seqs[-1])] if seqs else [])


def _entry(message: Message, seq: int | None) -> Entry:
    parts = [bytes(part) for part in _raw_list.decode(message.parts)]
    own = message.token_count
    return Entry(seq, parts, count_message(approximate, parts) if own is None else own)

"""The fold: log event + head -> head, rows, facts, and the answer to whoever asked.

This is where every rule of the domain is applied, and the only place. The same event on the same
state gives the same result, on any node, at any time: nothing here reads a clock or rolls a die.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar, assert_never

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from schemas.events import (
    NULL,
    ArchiveAdvanced,
    ContextConfigured,
    ContextTombstoned,
    Counted,
    LogEvent,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    WindowCompacted,
)
from schemas.facts import (
    ContextChanged,
    Fact,
    MessageAccepted,
    RequestRefused,
    UndoAccepted,
    WindowChanged,
)
from schemas.limits import (
    CONTROL_ANSWERS_KEPT,
    METADATA_BYTES_MAX,
    UNDO_ANSWERS_KEPT,
)
from streams.core.head import ControlAnswer, Head, UndoAnswer, Undos, Window
from streams.core.outcome import (
    Advanced,
    Appended,
    Compacted,
    Configured,
    Outcome,
    Patched,
    RefusalCode,
    Refused,
    Stale,
    Tombstoned,
    Undone,
)
from streams.core.policies import Measures, checked
from streams.core.rows import (
    NO_HASH,
    Answer,
    Draft,
    Rows,
    answer_key,
    answer_of,
    answer_row,
    hash_of,
    json_of,
    message_key,
    message_row,
    replacement_key,
    undone_key,
)
from streams.core.sizes import problem_of_sizes
from streams.core.tokens import count_parts, rule_name
from streams.core.trim import trimmed
from streams.core.undone import Ranges, undone_row
from streams.core.view import context_json, segment_json
from streams.core.window import (
    appended,
    compacted,
    delete_own_rows,
    undone,
    without_empty_places,
)

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_raw_fields = msgspec.json.Decoder(dict[str, Raw])


class At(Struct, frozen=True):
    """Where a record lies in the log, and the broker's time of its arrival in milliseconds."""

    offset: int
    timestamp_ms: int


class Folded(Struct, frozen=True):
    """What one event did to one context. `head` is None where there is (still) no such context.

    `writes`: rows of `tails`, in order, None for a deletion. `changed`: whether `head` is new.
    """

    context_id: str
    head: Head | None
    changed: bool
    outcome: Outcome
    writes: dict[bytes, bytes | None] = {}
    facts: tuple[Fact, ...] = ()


class Heads(Protocol):
    """The heads of one partition, as they stand before the event."""

    def head(self, context_id: str) -> Head | None:
        """The head of a context, or None where there is no such context."""


def fold(event: LogEvent, at: At, heads: Heads, rows: Rows, measures: Measures) -> Iterator[Folded]:
    """Fold one event: one result for each context that it speaks of.

    The caller stores each result before it asks for the next one.
    """
    if isinstance(event.data, ArchiveAdvanced):
        for context_id, seq in event.data.watermarks:
            head = heads.head(context_id)
            yield _Step(event, context_id, head, at, rows, measures).advance(
                seq, event.data.tail_keep
            )
    else:
        head = heads.head(event.subject)
        yield _Step(event, event.subject, head, at, rows, measures).taken()


class _Refusal(Exception):
    """Carries a refusal out of the rule that found it; never leaves this module."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        self.code = code
        self.message = message


class _Step:
    """One event meets one head."""

    def __init__(
        self,
        event: LogEvent,
        context_id: str,
        head: Head | None,
        at: At,
        rows: Rows,
        measures: Measures,
    ) -> None:
        self.event = event
        self.context_id = context_id
        self.context = context_id.encode()
        self.before = head
        self.at = at
        self.draft = Draft(rows)
        self.measures = measures
        self.facts: list[Fact] = []

    # -- the frame that every event goes through ------------------------------------------------

    def taken(self) -> Folded:
        """Apply the event, or say why not."""
        if self._stale():
            return self._unchanged(Stale())
        try:
            return self._applied()
        except _Refusal as refusal:
            return self._refused(refusal)

    def _applied(self) -> Folded:
        data = self.event.data
        match data:
            case MessageAppended():
                return self._append(data)
            case WindowCompacted():
                return self._compact(data)
            case MessagesUndone():
                return self._undo(data)
            case ContextConfigured():
                return self._configure(data)
            case MetadataPatched():
                return self._patch(data)
            case ContextTombstoned():
                return self._tombstone()
            case ArchiveAdvanced():
                raise AssertionError("watermarks go through advance()")
            case _:
                assert_never(data)

    def _stale(self) -> bool:
        return self.before is not None and self.at.offset <= self.before.offset

    def _unchanged(self, outcome: Outcome) -> Folded:
        return Folded(self.context_id, self.before, False, outcome)

    def _changed(self, head: Head, outcome: Outcome) -> Folded:
        head = replace(head, offset=self.at.offset)
        return Folded(self.context_id, head, True, outcome, self.draft.writes, tuple(self.facts))

    def _refused(self, refusal: _Refusal) -> Folded:
        version = 0 if self.before is None else self.before.version
        fact = RequestRefused(self.event.id, version, refusal.code, refusal.message)
        outcome = Refused(refusal.code, refusal.message, version)
        return Folded(self.context_id, self.before, False, outcome, facts=(fact,))

    # -- rules that several events share --------------------------------------------------------

    def _existing(self) -> Head:
        if self.before is None:
            raise _Refusal("not_found", f"no context {self.context_id!r}; PUT it first")
        return self.before

    def _open(self, head: Head) -> Head:
        if head.status == "tombstoned":
            raise _Refusal("tombstoned", f"context {self.context_id!r} was deleted; use another id")
        return head

    def _new(self) -> Head:
        ms = self.at.timestamp_ms
        return Head(offset=self.at.offset, created_at=ms, updated_at=ms)

    def _check_version(self, head: Head, if_version: int | None) -> None:
        if if_version is not None and if_version != head.version:
            raise _Refusal(
                "conflict",
                f"if_version is {if_version}, the context is at version {head.version}; "
                "read it again and retry",
            )

    def _digest(self, *content: object) -> bytes:
        return hash_of(_encoder.encode((type(self.event.data).__name__, *content)))

    def _recalled(
        self, event_hash: bytes, digest: bytes
    ) -> Answer | ControlAnswer | UndoAnswer | None:
        """The answer that this idempotency key got before; another body under it is refused."""
        found: Answer | ControlAnswer | UndoAnswer | None = None
        if self.before is not None:
            row = self.draft.get(answer_key(self.context, event_hash))
            kept: tuple[ControlAnswer | UndoAnswer, ...]
            kept = (*self.before.answers, *self.before.undos.answers)
            known = (a for a in kept if a.event_hash == event_hash)
            found = next(known, None) if row is None else answer_of(row)
        if found is not None and found.digest != digest:
            raise _Refusal(
                "idempotency_key_reused",
                f"the idempotency key {self.event.id!r} was used with another body; take a new one",
            )
        return found

    def _remember(
        self, head: Head, event_hash: bytes, digest: bytes, *, created: bool = False
    ) -> Head:
        answer = ControlAnswer(event_hash, digest, head.version, created)
        return replace(head, answers=(*head.answers, answer)[-CONTROL_ANSWERS_KEPT:])

    def _check_sizes(self, messages: tuple[Message, ...], field: str) -> None:
        if (problem := problem_of_sizes(messages, field)) is not None:
            raise _Refusal("too_large", problem)

    def _counts(
        self, messages: tuple[Message, ...], counted: Counted | None, head: Head
    ) -> list[int]:
        """Tokens of each message: the sender's count, else the edge's, else our own."""
        usable = (
            counted is not None
            and counted.rule == rule_name(head.encoding)
            and len(counted.token_counts) == len(messages)
        )
        counts: list[int] = []
        for i, message in enumerate(messages):
            if message.token_count is not None:
                counts.append(message.token_count)
            elif usable and counted is not None:
                counts.append(counted.token_counts[i])
            else:
                counts.append(count_parts(self.measures(head.encoding), message.parts))
        return counts

    def _window_changed(self, head: Head) -> None:
        self.facts.append(
            WindowChanged(
                event_id=self.event.id,
                version=head.version,
                used_tokens=head.window.used_tokens,
                needs_compaction=head.needs_compaction,
                segments=tuple(segment_json(s) for s in head.window.segments),
            )
        )

    def _context_changed(self, head: Head) -> None:
        view = Raw(context_json(self.context_id, head))
        self.facts.append(ContextChanged(self.event.id, head.version, view))

    # -- one method an event --------------------------------------------------------------------

    def _append(self, data: MessageAppended) -> Folded:
        event_hash = hash_of(self.event.id.encode())
        digest = self._digest(data.messages, data.if_version)
        match self._recalled(event_hash, digest):
            case Answer(first_seq=first, version=version, token_counts=counts):
                last = first + len(counts) - 1
                return self._unchanged(Appended(first, last, version, counts, replayed=True))
        head = self._new() if self.before is None and data.create else self._existing()
        self._open(head)
        self._check_version(head, data.if_version)
        self._check_sizes(data.messages, "messages")

        counts = tuple(self._counts(data.messages, data.counted, head))
        version, first = head.version + 1, head.last_seq + 1
        last = head.last_seq + len(data.messages)
        for seq, (message, tokens) in enumerate(
            zip(data.messages, counts, strict=True), start=first
        ):
            row = message_row(
                message,
                seq=seq,
                version=version,
                tokens=tokens,
                timestamp_ms=self.at.timestamp_ms,
                event_hash=event_hash if seq == last else NO_HASH,
            )
            self.draft.put(message_key(self.context, seq), row)
            self.facts.append(MessageAccepted(self.event.id, Raw(json_of(row))))
        self.draft.put(
            answer_key(self.context, event_hash),
            answer_row(Answer(digest, first, version, counts)),
        )
        head = replace(
            head,
            version=version,
            last_seq=last,
            updated_at=self.at.timestamp_ms,
            window=appended(head.window, first, last, sum(counts)),
        )
        head = self._policy_run(head)
        return self._changed(head, Appended(first, last, version, counts))

    def _policy_run(self, head: Head) -> Head:
        window = checked(head, self.context, self.draft, self.measures)
        if window == head.window:
            return head
        head = replace(head, window=window)
        self._window_changed(head)
        return head

    def _compact(self, data: WindowCompacted) -> Folded:
        event_hash = hash_of(self.event.id.encode())
        digest = self._digest(data.replacement, data.if_version)
        if (answer := self._recalled(event_hash, digest)) is not None:
            return self._unchanged(Compacted(answer.version, replayed=True))
        head = self._open(self._existing())
        self._check_version(head, data.if_version)
        self._check_sizes(data.replacement, "replacement")

        counts = self._counts(data.replacement, data.counted, head)
        version = head.version + 1
        delete_own_rows(head.window, self.context, self.draft, self._ranges(head))
        for index, (message, tokens) in enumerate(zip(data.replacement, counts, strict=True)):
            self.draft.put(
                replacement_key(self.context, version, index),
                message_row(
                    message,
                    seq=None,
                    version=version,
                    tokens=tokens,
                    timestamp_ms=self.at.timestamp_ms,
                ),
            )
        window: Window = compacted(head.window, version, counts, head.last_seq)
        head = replace(head, version=version, window=window, updated_at=self.at.timestamp_ms)
        head = self._remember(head, event_hash, digest)
        self._window_changed(head)
        return self._changed(head, Compacted(version))

    def _undo(self, data: MessagesUndone) -> Folded:
        event_hash = hash_of(self.event.id.encode())
        digest = self._digest(data)
        match self._recalled(event_hash, digest):
            case UndoAnswer() as known:
                answer = Undone(known.version, known.undone, known.from_seq, known.to_seq)
                return self._unchanged(replace(answer, replayed=True))
        head = self._open(self._existing())
        self._check_version(head, data.if_version)

        ranges = self._ranges(head)
        first, last = ranges.next_standing(data.from_seq), ranges.last_standing(head.last_seq)
        answer = Undone(head.version, 0, 0, 0)
        if first <= last:
            undone_before = ranges.undone_upto(last) - ranges.undone_upto(first)
            count = last - first + 1 - undone_before
            answer = Undone(head.version + 1, count, first, last)
            head = self._undone(head, answer, ranges)
        # Even where there was nothing to undo: a retry must not undo what was said since.
        return self._changed(_remembered(head, event_hash, digest, answer), answer)

    def _undone(self, head: Head, answer: Undone, ranges: Ranges) -> Head:
        window = undone(head.window, answer.from_seq, self.context, self.draft, ranges)
        window = without_empty_places(window, self.context, self.draft, ranges)
        place, undone_range = ranges.undo(answer.from_seq, head.last_seq, answer.version)
        self.draft.put(undone_key(self.context, place), undone_row(undone_range))
        after = replace(
            head,
            version=answer.version,
            updated_at=self.at.timestamp_ms,
            window=window,
            undos=Undos(place + 1, head.undos.answers),
        )
        self.facts.append(
            UndoAccepted(
                self.event.id, answer.version, answer.from_seq, answer.to_seq, answer.undone
            )
        )
        if window != head.window:
            self._window_changed(after)
        return after

    def _ranges(self, head: Head) -> Ranges:
        return Ranges(head.undos.ranges, self.context, self.draft.get_many)

    def _configure(self, data: ContextConfigured) -> Folded:
        event_hash = hash_of(self.event.id.encode())
        digest = self._digest(data)
        match self._recalled(event_hash, digest):
            case ControlAnswer(created=created):
                return self._unchanged(Configured(created, replayed=True))
        created = self.before is None
        head = self._open(self._new() if self.before is None else self.before)
        metadata = head.metadata if data.metadata == NULL else bytes(data.metadata)
        self._check_metadata(metadata)
        head = replace(
            head,
            token_budget=_or(data.token_budget, head.token_budget),
            trigger_ratio=_or(data.trigger_ratio, head.trigger_ratio),
            policy=_or(data.policy, head.policy),
            encoding=_or(data.encoding, head.encoding),
            metadata=metadata,
            updated_at=self.at.timestamp_ms,
        )
        head = self._remember(head, event_hash, digest, created=created)
        self._context_changed(head)
        return self._changed(head, Configured(created))

    def _patch(self, data: MetadataPatched) -> Folded:
        event_hash = hash_of(self.event.id.encode())
        digest = self._digest(data)
        if self._recalled(event_hash, digest) is not None:
            return self._unchanged(Patched(replayed=True))
        head = self._open(self._existing())
        metadata = _merged(head.metadata, data.metadata)
        self._check_metadata(metadata)
        head = replace(head, metadata=metadata, updated_at=self.at.timestamp_ms)
        head = self._remember(head, event_hash, digest)
        self._context_changed(head)
        return self._changed(head, Patched())

    def _check_metadata(self, metadata: bytes) -> None:
        if len(metadata) > METADATA_BYTES_MAX:
            raise _Refusal(
                "too_large",
                f"the context's metadata have {len(metadata)} bytes; "
                f"at most {METADATA_BYTES_MAX} are allowed",
            )

    def _tombstone(self) -> Folded:
        head = self._existing()
        if head.status == "tombstoned":
            return self._unchanged(Tombstoned())
        head = replace(head, status="tombstoned", updated_at=self.at.timestamp_ms)
        self._context_changed(head)
        return self._changed(head, Tombstoned())

    def advance(self, seq: int, tail_keep: int) -> Folded:
        """Raise the watermark to `seq` and trim; one that makes no sense is refused."""
        if self._stale():
            return self._unchanged(Stale())
        try:
            head = self._existing()
            if not head.archived_seq <= seq <= head.last_seq:
                raise _Refusal(
                    "invalid_request",
                    f"the watermark {seq} of context {self.context_id!r} is not between "
                    f"{head.archived_seq} (archived) and {head.last_seq} (accepted)",
                )
        except _Refusal as refusal:
            return self._refused(refusal)
        after = trimmed(replace(head, archived_seq=seq), self.context, tail_keep, self.draft)
        if after == head:
            return self._unchanged(Advanced())
        return self._changed(after, Advanced())


def _remembered(head: Head, event_hash: bytes, digest: bytes, given: Undone) -> Head:
    answer = UndoAnswer(
        event_hash, digest, given.version, given.undone, given.from_seq, given.to_seq
    )
    answers = (*head.undos.answers, answer)[-UNDO_ANSWERS_KEPT:]
    return replace(head, undos=replace(head.undos, answers=answers))


def _merged(metadata: bytes, patch: Raw) -> bytes:
    """The metadata with the patch's top-level keys; a null in the patch takes its key away."""
    fields = _raw_fields.decode(metadata)
    for name, value in _raw_fields.decode(patch).items():
        if bytes(value) == b"null":
            fields.pop(name, None)
        else:
            fields[name] = value
    return _encoder.encode(fields)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value

"""Bytes to log events and back. The only place where a record's JSON is read or written.

What comes out of `decode_event` is sound: valid UTF-8 and JSON, bounded nesting, known type, sane
ids. What is not raises `Unreadable`, whose sentence is the reason in `rewindow.dead`.
"""

import re
from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import Annotated, Final, assert_never

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.events import (
    EMPTY_OBJECT,
    EVENT_TYPES,
    NULL,
    ArchiveAdvanced,
    ContextConfigured,
    ContextTombstoned,
    EventData,
    LogEvent,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    WindowCompacted,
)
from schemas.facts import FACT_TYPES, Fact
from schemas.ids import problem_of_context_id, problem_of_event_id
from schemas.limits import REASON_CHARS_MAX, RECORD_LEVELS_MAX
from schemas.trail import NO_TRAIL, Trail, is_request_id, is_traceparent

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
SPEC_VERSION: Final = "1.0"


class Unreadable(ValueError):
    """The bytes are not what they should be; the message says what and where, in a line or two."""

    def __init__(self, message: str) -> None:
        cut = message[: REASON_CHARS_MAX - 1] + "…"
        super().__init__(message if len(message) <= REASON_CHARS_MAX else cut)


class _Envelope(Struct):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    data: Raw
    requestid: Raw = NULL
    traceparent: Raw = NULL


class _FactEnvelope(Struct):
    subject: str
    data: Fact


def _fact_envelope(name: str, kind: type[Fact]) -> type[Struct]:
    return msgspec.defstruct(
        kind.__name__, [("data", kind)], bases=(_FactEnvelope,), tag_field="type", tag=name
    )


class _WrittenEnvelope(Struct, kw_only=True, omit_defaults=True):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    requestid: str | None = None
    traceparent: str | None = None
    data: EventData | Fact


class _PartType(Struct):
    type: Annotated[str, Meta(min_length=1)]


_envelopes = msgspec.json.Decoder(_Envelope)
_data_decoders = {name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()}
# Told apart by their type in the same pass: the archive reads every one of them.
_facts: msgspec.json.Decoder[_FactEnvelope] = msgspec.json.Decoder(
    reduce(or_, (_fact_envelope(name, kind) for name, kind in FACT_TYPES.items()))
)
_texts = msgspec.json.Decoder(str)
_part_types = msgspec.json.Decoder(Annotated[list[_PartType], Meta(min_length=1)])
_type_names: dict[type, str] = {kind: name for name, kind in (EVENT_TYPES | FACT_TYPES).items()}
_encoder = msgspec.json.Encoder()

# Strings first, so that a bracket inside one is never taken for structure. Nothing is ever tried
# twice (possessive), and a string without an end runs to the end of the text: the scan is linear
# and needs no memory, whatever the bytes are.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[\[{]|[\]}]', re.DOTALL)


def check_json(raw: bytes, levels_max: int = RECORD_LEVELS_MAX) -> None:
    """Refuse what no JSON reader takes: bytes that are not UTF-8, nesting beyond the limit.

    Raises `Unreadable`. Python's own recursion limit depends on where the caller stands, so the
    depth is counted here, where it is the same everywhere.
    """
    try:
        raw.decode()
    except UnicodeDecodeError as exc:
        raise Unreadable(f"not valid UTF-8 at byte {exc.start}; send UTF-8") from None
    if raw.count(b"[") + raw.count(b"{") <= levels_max:
        return
    level = 0
    for token in _STRUCTURE.finditer(raw):
        first = token.group()[0]
        if first in b"[{":
            level += 1
            if level > levels_max:
                raise Unreadable(f"nested deeper than {levels_max} levels; flatten the value")
        elif first in b"]}":
            level -= 1


def compact(raw: bytes) -> bytes:
    """The same JSON text without white space: numbers, escapes and doubled keys stay as they are.

    Raises `Unreadable` where it is not JSON.
    """
    try:
        return msgspec.json.format(raw, indent=-1)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Unreadable(reason(exc)) from None


def reason(exc: Exception) -> str:
    """A decoder's complaint as a reader can use it."""
    text = str(exc)
    if text == "Input data was truncated":
        # msgspec says the same of an escape such as \ud800 with no second half behind it.
        return "JSON ends too early, or holds half of a surrogate pair; send whole, valid Unicode"
    return text


def decode_event(key: bytes | None, value: bytes | None) -> LogEvent:
    """Read a record of the log. Raises `Unreadable` with the reason for the dead-letter topic."""
    if key is None:
        raise Unreadable("the record has no key; set it to the context id, in UTF-8")
    if value is None:
        raise Unreadable("the record has no value; the log holds events, not deletions")
    check_json(value)
    try:
        envelope = _envelopes.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise Unreadable(f"not a CloudEvent: {reason(exc)}") from None
    if envelope.specversion != SPEC_VERSION:
        raise Unreadable(f"specversion is {envelope.specversion!r}; only '1.0' is known")
    if envelope.subject.encode() != key:
        raise Unreadable(
            "the record's key differs from the event's subject; both are the context id"
        )
    return _decode_data(envelope)


def _decode_data(envelope: _Envelope) -> LogEvent:
    decoder = _data_decoders.get(envelope.type)
    if decoder is None:
        raise Unreadable(f"the type {envelope.type!r} is not known to this version")
    try:
        data: EventData = decoder.decode(envelope.data)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise Unreadable(f"the data of {envelope.type} are not valid: {reason(exc)}") from None
    if (problem := problem_of_event_id(envelope.id)) is not None:
        raise Unreadable(problem)
    for context_id in _contexts_of(envelope.subject, data):
        if (problem := problem_of_context_id(context_id)) is not None:
            raise Unreadable(problem)
    return LogEvent(
        envelope.id, envelope.subject, envelope.source, sound_data(data), _trail_of(envelope)
    )


def _trail_of(envelope: _Envelope) -> Trail:
    if envelope.requestid is NULL and envelope.traceparent is NULL:
        return NO_TRAIL
    return Trail(
        _sound_text(envelope.requestid, is_request_id),
        _sound_text(envelope.traceparent, is_traceparent),
    )


def _sound_text(raw: Raw, is_sound: Callable[[str], bool]) -> str | None:
    """See `schemas.trail`: what is not sound is not there."""
    try:
        text = _texts.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return text if is_sound(text) else None


def _contexts_of(subject: str, data: EventData) -> Iterable[str]:
    """Every context that an event speaks of; watermarks name theirs in the data."""
    if isinstance(data, ArchiveAdvanced):
        return (context_id for context_id, _ in data.watermarks)
    return (subject,)


def sound_data(data: EventData) -> EventData:
    """The same data, its free JSON checked and compact. Raises `Unreadable`, naming the field."""
    match data:
        case MessageAppended(messages=messages):
            return msgspec.structs.replace(data, messages=_sound_all(messages, "messages"))
        case WindowCompacted(replacement=messages):
            return msgspec.structs.replace(data, replacement=_sound_all(messages, "replacement"))
        case MetadataPatched(metadata=metadata):
            return MetadataPatched(sound_object(metadata, "metadata"))
        case ContextConfigured(metadata=Raw() as metadata) if metadata != NULL:
            return msgspec.structs.replace(data, metadata=sound_object(metadata, "metadata"))
        case ContextConfigured() | MessagesUndone() | ContextTombstoned() | ArchiveAdvanced():
            return data
        case _:
            assert_never(data)


def _sound_all(messages: tuple[Message, ...], field: str) -> tuple[Message, ...]:
    return tuple(_sound(message, f"{field}[{i}]") for i, message in enumerate(messages))


def _sound(message: Message, field: str) -> Message:
    parts = compact(bytes(message.parts))
    try:
        _part_types.decode(parts)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise Unreadable(
            f"{field}.parts has to be a non-empty list of objects with a string `type`: "
            f"{reason(exc)}"
        ) from None
    metadata = sound_object(message.metadata, f"{field}.metadata")
    return Message(message.role, Raw(parts), message.token_count, metadata, message.id)


def sound_object(raw: Raw, field: str) -> Raw:
    """A JSON object, compact. Raises `Unreadable`, naming the field."""
    if raw is EMPTY_OBJECT:
        return raw
    text = compact(bytes(raw))
    if not text.startswith(b"{"):
        raise Unreadable(f"{field} has to be a JSON object")
    return Raw(text)


def encode_event(event: LogEvent) -> bytes:
    """Write a log event as the value of its record; the key is the subject, in UTF-8."""
    return _encoder.encode(
        _WrittenEnvelope(
            specversion=SPEC_VERSION,
            id=event.id,
            source=event.source,
            type=type_of(event.data),
            subject=event.subject,
            requestid=event.trail.request_id,
            traceparent=event.trail.traceparent,
            data=event.data,
        )
    )


def encode_fact(fact: Fact, *, fact_id: str, subject: str, trail: Trail = NO_TRAIL) -> bytes:
    """Write a fact as the value of its record; the key is the subject, in UTF-8. The trail is that
    of the event."""
    return _encoder.encode(
        _WrittenEnvelope(
            specversion=SPEC_VERSION,
            id=fact_id,
            source="/rewindow/fold",
            type=type_of(fact),
            subject=subject,
            requestid=trail.request_id,
            traceparent=trail.traceparent,
            data=fact,
        )
    )


def decode_fact(value: bytes) -> tuple[str, Fact]:
    """Read a record of the facts: its subject and what it says. Raises `Unreadable`."""
    try:
        envelope = _facts.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise Unreadable(f"not a fact: {reason(exc)}") from None
    return envelope.subject, envelope.data


def type_of(data: EventData | Fact) -> str:
    """The CloudEvents `type` that a struct is written under."""
    return _type_names[type(data)]

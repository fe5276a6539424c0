"""The shapes of request bodies, and the data of log events made of them.

Every function here takes a whole body and raises `Problem`, naming the field where there is one.
"""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from api.problems import Problem, invalid
from schemas.codec import Unreadable, check_json, reason, sound_data
from schemas.events import (
    EMPTY_OBJECT,
    NULL,
    ContextConfigured,
    EventData,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    Role,
    SaidSeq,
    TokenCount,
    Version,
    WindowCompacted,
)
from schemas.limits import (
    MESSAGES_PER_APPEND_MAX,
    NESTING_LEVELS_MAX,
    REPLACEMENT_MESSAGES_MAX,
)
from streams.core.sizes import problem_of_sizes

T = TypeVar("T")
D = TypeVar("D", bound=EventData)

_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_NAMED = re.compile(r"(?:unknown|missing required) field `(.*)`", re.DOTALL)
_UNSOUND = re.compile(r"([a-z]+(?:\[[0-9]+\])?(?:\.[a-z]+)?) has to be ")


class MessageBody(Struct, forbid_unknown_fields=True):
    """What a reader gets with a message may be sent back; it is ignored."""

    role: Role
    parts: Raw
    token_count: TokenCount | None = None
    metadata: Raw = EMPTY_OBJECT
    id: str | None = None
    seq: Raw | UnsetType = UNSET
    version: Raw | UnsetType = UNSET
    inserted_at: Raw | UnsetType = UNSET

    def message(self) -> Message:
        """What of it is kept."""
        metadata = EMPTY_OBJECT if self.metadata == NULL else self.metadata
        return Message(self.role, self.parts, self.token_count, metadata, self.id)


class AppendBody(Struct, forbid_unknown_fields=True):
    """One `message`, or several `messages`, all or nothing in order."""

    message: MessageBody | None = None
    messages: (
        Annotated[list[MessageBody], Meta(min_length=1, max_length=MESSAGES_PER_APPEND_MAX)] | None
    ) = None
    if_version: Version | None = None


class ConfigureBody(ContextConfigured, frozen=True, forbid_unknown_fields=True):
    """The settings to change; what is left out, or null, keeps its value."""


class CompactBody(Struct, forbid_unknown_fields=True):
    """The messages that replace the window; an empty list empties it."""

    replacement: Annotated[list[MessageBody], Meta(max_length=REPLACEMENT_MESSAGES_MAX)]
    if_version: Version | None = None


class UndoBody(Struct, forbid_unknown_fields=True):
    """Every message that still stands from this seq on is undone."""

    from_seq: SaidSeq
    if_version: Version | None = None


class PatchBody(Struct, forbid_unknown_fields=True):
    """Top-level keys to merge; a null takes its key away."""

    metadata: Raw


_append = msgspec.json.Decoder(AppendBody)
_configure = msgspec.json.Decoder(ConfigureBody)
_compact = msgspec.json.Decoder(CompactBody)
_undo = msgspec.json.Decoder(UndoBody)
_patch = msgspec.json.Decoder(PatchBody)


def append_body(raw: bytes) -> tuple[MessageAppended, bool]:
    """What is appended, and whether the one-message form was used."""
    asked = _decoded(raw, _append)
    if asked.message is not None and asked.messages is not None:
        raise invalid("there is a `message` and a list of `messages`; give one of them", "messages")
    if asked.message is not None:
        return _appended([asked.message], asked.if_version, "message"), True
    if asked.messages is not None:
        return _appended(asked.messages, asked.if_version, "messages"), False
    raise invalid("nothing to append; give a `message` or a list of `messages`", "message")


def configure_body(raw: bytes) -> ContextConfigured:
    """The settings to change. An empty body changes none."""
    asked = _decoded(raw or b"{}", _configure)
    return _sound(
        ContextConfigured(
            asked.token_budget, asked.trigger_ratio, asked.policy, asked.encoding, asked.metadata
        )
    )


def compact_body(raw: bytes) -> WindowCompacted:
    """The messages that replace the window."""
    asked = _decoded(raw, _compact)
    messages = tuple(body.message() for body in asked.replacement)
    data = _sound(WindowCompacted(messages, asked.if_version))
    _check_sizes(data.replacement, "replacement")
    return data


def undo_body(raw: bytes) -> MessagesUndone:
    """What is undone."""
    asked = _decoded(raw, _undo)
    return MessagesUndone(asked.from_seq, asked.if_version)


def patch_body(raw: bytes) -> MetadataPatched:
    """The metadata to merge."""
    return _sound(MetadataPatched(_decoded(raw, _patch).metadata))


def _appended(bodies: list[MessageBody], if_version: int | None, field: str) -> MessageAppended:
    messages = tuple(body.message() for body in bodies)
    data = _sound(MessageAppended(messages, if_version, create=False), field)
    _check_sizes(data.messages, field)
    return data


def _decoded(raw: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    if not raw:
        raise invalid("the body is empty; send a JSON object")
    try:
        check_json(raw, NESTING_LEVELS_MAX)
        return decoder.decode(raw)
    except msgspec.ValidationError as exc:
        raise invalid(f"the body is not what it should be: {exc}", _field(str(exc))) from None
    except (msgspec.DecodeError, RecursionError) as exc:
        raise invalid(f"the body is not JSON: {reason(exc)}") from None
    except Unreadable as exc:
        raise invalid(f"the body can't be read: {exc}") from None


def _field(complaint: str) -> str | None:
    """The field that msgspec complains of."""
    place = _PLACE.search(complaint)
    inside = place.group(1) if place else ""
    if (named := _NAMED.search(complaint[: place.start()] if place else complaint)) is not None:
        return f"{inside}.{named.group(1)}".lstrip(".")
    return inside or None


def _sound(data: D, field: str = "") -> D:
    """See `sound_data`, which calls every list of messages by its own name, not by `field`."""
    try:
        sound: D = sound_data(data)  # type: ignore[assignment]
    except Unreadable as exc:
        complaint = _as_sent(str(exc), field)
        found = _UNSOUND.match(complaint)
        raise invalid(complaint, found.group(1) if found else None) from None
    return sound


def _check_sizes(messages: tuple[Message, ...], field: str) -> None:
    if (problem := problem_of_sizes(messages, "messages" if field == "message" else field)) is None:
        return
    raise Problem("too_large", _as_sent(problem, field))


def _as_sent(complaint: str, field: str) -> str:
    """The one-message form has no list to count in."""
    return re.sub(r"^messages(\[0\])?", "message", complaint) if field == "message" else complaint

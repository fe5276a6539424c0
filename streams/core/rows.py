"""The rows of the `tails` table: their keys, their values, and a draft of changes to them.

A key is the context id, NUL, a letter for the kind, and big-endian numbers, so that a context's
rows lie together and in order. A message's value is a small fixed prefix and then the JSON that a
reader gets, so that serving needs no decoding and counting needs no parsing.
"""

import struct
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, Protocol

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.events import Message
from streams.core.clock import rfc3339

HASH_BYTES: Final = 16
NO_HASH: Final = bytes(HASH_BYTES)
_PREFIX: Final = struct.Struct(f">Q{HASH_BYTES}s")
PREFIX_BYTES: Final = _PREFIX.size
LEFT_OUT: Final = _PREFIX.pack(0, NO_HASH)
"""The shown form of a message of which a policy left no part: it stands, and shows nothing."""

POSITION_KEY: Final = b"\0position"
"""In `windows`: the offset of the last log record folded. No context id starts with NUL."""
LOG_KEY: Final = b"\0log"
"""In `windows`, of the same transaction as the position: the id of the log topic that it is in."""

_encoder = msgspec.json.Encoder()


class MessageJson(Struct, frozen=True, omit_defaults=True):
    """What a reader gets. The small fields come first; a replacement has no seq of its own."""

    version: int
    token_count: int
    inserted_at: str
    role: str
    parts: Raw
    metadata: Raw
    seq: int | UnsetType = UNSET
    id: str | None = None


_message_decoder = msgspec.json.Decoder(MessageJson)


class _Version(Struct):
    version: int


_version_decoder = msgspec.json.Decoder(_Version)


class Answer(Struct, frozen=True, array_like=True):
    """What an append was answered, kept under its idempotency key."""

    digest: bytes
    first_seq: int
    version: int
    token_counts: tuple[int, ...]


_answer_decoder = msgspec.msgpack.Decoder(Answer)
_answer_encoder = msgspec.msgpack.Encoder()


def message_key(context: bytes, seq: int) -> bytes:
    """A message, as it was said."""
    return b"%b\0m%b" % (context, seq.to_bytes(8, "big"))


def shown_key(context: bytes, seq: int) -> bytes:
    """A message as the window shows it, where a policy took parts out of it."""
    return b"%b\0s%b" % (context, seq.to_bytes(8, "big"))


def replacement_key(context: bytes, version: int, index: int) -> bytes:
    """A message that a compaction put in the place of others."""
    return b"%b\0r%b%b" % (context, version.to_bytes(8, "big"), index.to_bytes(4, "big"))


def undone_key(context: bytes, index: int) -> bytes:
    """A range of messages that are undone; see `streams.core.undone`."""
    return b"%b\0u%b" % (context, index.to_bytes(8, "big"))


def answer_key(context: bytes, event_hash: bytes) -> bytes:
    """The answer that an append got, under the hash of its idempotency key."""
    return b"%b\0k%b" % (context, event_hash)


def hash_of(text: bytes) -> bytes:
    """16 bytes of BLAKE2b (RFC 7693): short enough to store, too long to collide by chance."""
    return blake2b(text, digest_size=HASH_BYTES).digest()


def message_row(
    message: Message,
    *,
    seq: int | None,
    version: int,
    tokens: int,
    timestamp_ms: int,
    event_hash: bytes = NO_HASH,
) -> bytes:
    """The value of a message's row: tokens, the key's hash (on an append's last message), JSON."""
    shown = MessageJson(
        version=version,
        token_count=tokens,
        inserted_at=rfc3339(timestamp_ms),
        role=message.role,
        parts=message.parts,
        metadata=message.metadata,
        seq=UNSET if seq is None else seq,
        id=message.id,
    )
    return _PREFIX.pack(tokens, event_hash) + _encoder.encode(shown)


def shown_row(shown: MessageJson) -> bytes:
    """The value of a message's shown form."""
    return _PREFIX.pack(shown.token_count, NO_HASH) + _encoder.encode(shown)


def tokens_of(row: bytes) -> int:
    """What a message counts in the window, in tokens."""
    tokens: int = _PREFIX.unpack_from(row)[0]
    return tokens


def event_hash_of(row: bytes) -> bytes | None:
    """The hash of the idempotency key whose answer goes when this message goes, if there is one."""
    event_hash: bytes = _PREFIX.unpack_from(row)[1]
    return None if event_hash == NO_HASH else event_hash


def json_of(row: bytes) -> bytes:
    """The JSON that a reader gets; empty where nothing of the message is left to show."""
    return row[PREFIX_BYTES:]


def bodies_of(seqs: Sequence[int], rows: Sequence[bytes | None]) -> list[tuple[int, bytes]]:
    """The messages that are there of some, as seq and JSON."""
    return [(seq, json_of(row)) for seq, row in zip(seqs, rows, strict=True) if row is not None]


def version_of(row: bytes) -> int:
    """The version in which a message came."""
    return _version_decoder.decode(json_of(row)).version


def message_of(row: bytes) -> MessageJson:
    """The decoded JSON of a row."""
    return _message_decoder.decode(json_of(row))


def answer_row(answer: Answer) -> bytes:
    """The value of an idempotency row."""
    return _answer_encoder.encode(answer)


def answer_of(row: bytes) -> Answer:
    """Read an idempotency row."""
    return _answer_decoder.decode(row)


GetMany = Callable[[Sequence[bytes]], Sequence[bytes | None]]
"""Reads rows, in the order of their keys; None for one that is not there."""

GetMessages = Callable[[bytes, Sequence[int]], Sequence[bytes | None]]
"""Reads the rows of a context's messages, in the order of their seqs."""


class Rows(Protocol):
    """The rows of one partition's tail, as they stand before the event."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a row, or None where there is none."""


class Draft:
    """Rows as they stand after the event so far: what was read, under what was written."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.writes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value of a row as the event has left it."""
        return self.writes[key] if key in self.writes else self._rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of rows as the event has left them, in the order of the keys."""
        return [self.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        self.writes[key] = value

    def delete(self, key: bytes) -> None:
        """Take a row away; one that is not there leaves no trace in the changelog."""
        if self.get(key) is not None:
            self.writes[key] = None

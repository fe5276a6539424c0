"""A file's values as conversations, and each message of them as it is appended."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from formats.drafts import Draft, Memory
from formats.problems import NotReadable
from formats.raws import Fields, fields_of, is_null, is_object, items_of, raw_of, text_of
from formats.readers.anthropic import read_system
from formats.recognising import Format, Read, Shape
from formats.sources import Source, given_back, hole, kept_in, source_for
from schemas.codec import Unreadable, check_json, compact
from schemas.limits import MESSAGE_BYTES_MAX, NESTING_LEVELS_MAX, ROLE_CHARS_MAX

MESSAGES: Final = "messages"
SYSTEM: Final = "system"
_MESSAGE_LEVELS_MAX: Final = NESTING_LEVELS_MAX - 2
"""A request puts a message two levels deep."""

_encoder = msgspec.json.Encoder()


class Incoming(Struct):
    """A message that can be appended: its JSON. `where`: where in the file it stood."""

    where: str
    body: Raw


class Skipped(Struct):
    """What could not be read, and why."""

    where: str
    reason: str


class Conversation(Struct):
    """`id`: what the file calls it. Its messages are read as they are asked for."""

    id: str | None
    format: str
    messages: Iterator[Incoming | Skipped]


Value = tuple[str, bytes]
"""Where something stood in the file, and its JSON."""


def conversations(shape: Shape, values: Iterable[Value]) -> Iterator[Conversation | Skipped]:
    """The conversations of a file. What can't be read is skipped, and the rest goes on."""
    if shape.layout == "messages":
        yield Conversation(None, shape.format.name, _Reader(shape.format).messages(values))
        return
    for where, text in values:
        try:
            yield _conversation(shape.format, where, sound(text))
        except (NotReadable, Unreadable) as exc:
            yield Skipped(where, str(exc))


def sound(text: bytes) -> Raw:
    """JSON without white space. Raises `Unreadable`."""
    check_json(text)
    return Raw(compact(text))


def _conversation(kind: Format, where: str, text: Raw) -> Conversation:
    fields = fields_of(text, "a conversation")
    key = next((name for name in kind.lists if name in fields), None)
    if key is None:
        raise NotReadable(f"it has no list `{kind.lists[0]}`")
    listed = items_of(fields[key], f"`{key}`")
    values = [(f"{where}, message {n}", bytes(one)) for n, one in enumerate(listed, 1)]
    reader = _Reader(kind)
    beside = fields.get(kind.system) if kind.system is not None else None
    around = fields | {key: hole(MESSAGES)}
    if kind.system is None or beside is None or is_null(beside):
        return Conversation(_id_of(fields), kind.name, reader.messages(values, around))
    around[kind.system] = hole(SYSTEM)
    messages = reader.messages(values, around, (f"{where}, `{kind.system}`", bytes(beside)))
    return Conversation(_id_of(fields), kind.name, messages)


def _id_of(fields: Fields) -> str | None:
    """A text, or a number as it is written."""
    for name in ("id", "conversation_id", "instance_id"):
        raw = fields.get(name)
        if raw is not None and not is_null(raw) and not is_object(raw):
            return text_of(raw) or bytes(raw).decode()
    return None


class _Reader:
    """The messages of one conversation, in order."""

    def __init__(self, kind: Format) -> None:
        self._kind = kind
        self._memory = Memory()
        self._around: Raw | None = None

    def messages(
        self, values: Iterable[Value], around: Fields | None = None, system: Value | None = None
    ) -> Iterator[Incoming | Skipped]:
        """The first message keeps what stood around all of them."""
        self._around = None if around is None else raw_of(around)
        if system is not None:
            yield self._read(*system, read=read_system, place=SYSTEM)
        for where, text in values:
            yield self._read(where, text, read=self._kind.read)

    def _read(
        self, where: str, text: bytes, *, read: Read, place: str | None = None
    ) -> Incoming | Skipped:
        self._memory.number += 1
        try:
            raw = sound(text)
            body = self._body(raw, read(raw, self._memory), place)
            _check(body)
        except (NotReadable, Unreadable) as exc:
            return Skipped(where, str(exc))
        self._around = None
        return Incoming(where, body)

    def _body(self, raw: Raw, draft: Draft, place: str | None) -> Raw:
        parts = draft.parts_json()
        source = source_for(self._kind.name, bytes(raw), bytes(parts))
        if place is not None:
            source.place = place
        if self._around is not None:
            source.around = self._around
        body: dict[str, Any] = {} if draft.id is None else {"id": draft.id}
        body |= {"role": draft.role, "parts": parts}
        body["metadata"] = {**draft.metadata, "source": source}
        if not 1 <= len(draft.role) <= ROLE_CHARS_MAX:
            raise NotReadable(f"a role has from 1 to {ROLE_CHARS_MAX} characters")
        return Raw(_encoder.encode(body))


def _check(body: Raw) -> None:
    """Whether a node would take the message."""
    size = len(bytes(body))
    if size > MESSAGE_BYTES_MAX:
        raise NotReadable(f"as a message it has {size} bytes; at most {MESSAGE_BYTES_MAX} fit")
    check_json(bytes(body), _MESSAGE_LEVELS_MAX)


# -- and back --------------------------------------------------------------------------------------


class _Imported(Struct):
    parts: Raw
    metadata: Raw


_imported = msgspec.json.Decoder(_Imported)


def conversation_back(bodies: Iterable[bytes]) -> list[bytes]:
    """What the messages of a context, as readers get them, were imported from: the conversation's
    JSON where it had one around its messages, else the JSON of each, in order.

    Messages that were not imported are passed over. To the letter, but for white space between
    tokens. Raises `NotReadable` where the parts of one were changed.
    """
    around: Raw | None = None
    system: bytes | None = None
    texts: list[bytes] = []
    for body in bodies:
        stored = _imported.decode(body)
        source = kept_in(stored.metadata)
        if source is None:
            continue
        text = _text_of(source, stored.parts)
        if source.around is not UNSET:
            around = source.around
        if source.place == SYSTEM:
            system = text
        else:
            texts.append(text)
    return texts if around is None else [_filled(around, texts, system)]


def _text_of(source: Source, parts: Raw) -> bytes:
    text = given_back(source, bytes(parts))
    if text is None:
        raise NotReadable("the parts of a message are no longer those that were imported")
    return text


def _filled(around: Raw, texts: list[bytes], system: bytes | None) -> bytes:
    fields = fields_of(around)
    for name, raw in fields.items():
        if bytes(raw) == bytes(hole(MESSAGES)):
            fields[name] = Raw(b"[%b]" % b",".join(texts))
        elif bytes(raw) == bytes(hole(SYSTEM)) and system is not None:
            fields[name] = Raw(system)
    return bytes(raw_of(fields))

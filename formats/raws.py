"""JSON taken apart one level at a time, so that what nobody looks into stays as it was written:
numbers keep their digits, strings their escapes, objects the order of their keys."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from formats.problems import NotReadable

Fields = dict[str, Raw]

_objects = msgspec.json.Decoder(Fields)
_lists = msgspec.json.Decoder(list[Raw])
_strings = msgspec.json.Decoder(str)
_encoder = msgspec.json.Encoder()

NULL: Final = b"null"


def fields_of(raw: bytes | Raw, what: str = "it") -> Fields:
    """The fields of an object; of doubled keys the last one. Raises `NotReadable`."""
    try:
        return _objects.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise NotReadable(f"{what} has to be a JSON object") from None


def items_of(raw: bytes | Raw, what: str = "it") -> list[Raw]:
    """The items of a list. Raises `NotReadable`."""
    try:
        return _lists.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise NotReadable(f"{what} has to be a JSON list") from None


def text_of(raw: bytes | Raw | None) -> str | None:
    """A string; None for anything else."""
    if raw is None or not is_text(raw):
        return None
    try:
        return _strings.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None


def is_text(raw: bytes | Raw) -> bool:
    """Whether it is a string."""
    return bytes(raw).startswith(b'"')


def is_object(raw: bytes | Raw) -> bool:
    """Whether it is an object."""
    return bytes(raw).startswith(b"{")


def is_list(raw: bytes | Raw) -> bool:
    """Whether it is a list."""
    return bytes(raw).startswith(b"[")


def is_null(raw: bytes | Raw | None) -> bool:
    """Whether it is null, or not there."""
    return raw is None or bytes(raw) == NULL


def string(fields: Fields, name: str) -> str:
    """A field that has to be there and to be a string. Raises `NotReadable`."""
    found = text_of(fields.get(name))
    if found is None:
        raise NotReadable(f"`{name}` has to be a string")
    return found


def raw_of(value: Any) -> Raw:
    """The value as compact JSON."""
    return Raw(_encoder.encode(value))

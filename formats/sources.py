"""What a message was made of, kept beside its parts so that it can be given back to the letter.

`metadata.source` is `{"format", "shape", "parts"}`: the message's own JSON, in which a long string
that a part holds too stands as `{"$": n}`, the n-th string of the parts. `parts` is a hash of them:
where somebody has changed them, the shape is no longer theirs.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from formats.raws import raw_of

INLINE_BYTES_MAX: Final = 24
"""A shorter string is not worth its reference."""

HASH_BYTES: Final = 8

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_REFERENCE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|\{"\$":(?P<number>[0-9]+)\}', re.DOTALL)


class Source(Struct, omit_defaults=True):
    """`json`: the whole message, where it holds what looks like a reference. `place`: where it
    stood, if not among the messages. `around`: what stood around all the messages, in the first."""

    format: str
    shape: Raw | UnsetType = UNSET
    json: Raw | UnsetType = UNSET
    parts: str = ""
    place: str | UnsetType = UNSET
    around: Raw | UnsetType = UNSET


class _Kept(Struct):
    source: Source | UnsetType = UNSET


_kept = msgspec.json.Decoder(_Kept)


def source_for(kind: str, text: bytes, parts: bytes) -> Source:
    """What to keep. `text`: the message's JSON, compact. `parts`: its parts, compact."""
    source = Source(kind, parts=_hash(parts))
    if b'{"$":' in text:
        source.json = Raw(text)
        return source
    numbers: dict[bytes, int] = {}
    for number, string in enumerate(_strings(parts)):
        if len(string) > INLINE_BYTES_MAX:
            numbers.setdefault(string, number)

    def referred(match: re.Match[bytes]) -> bytes:
        number = numbers.get(match.group())
        is_key = text[match.end() : match.end() + 1] == b":"
        return match.group() if number is None or is_key else b'{"$":%d}' % number

    source.shape = Raw(_STRING.sub(referred, text))
    return source


def kept_in(metadata: bytes | Raw) -> Source | None:
    """What was kept in a message's metadata, if it is what this module keeps there."""
    try:
        source = _kept.decode(metadata).source
    except (msgspec.DecodeError, UnicodeError):
        return None
    return None if source is UNSET else source


def given_back(source: Source, parts: bytes) -> bytes | None:
    """The message's own JSON, to the letter but for white space between its tokens; None where the
    parts (their JSON, compact) are no longer those that were made of it."""
    if source.parts != _hash(parts):
        return None
    if source.json is not UNSET:
        return bytes(source.json)
    if source.shape is UNSET:
        return None
    strings = list(_strings(parts))

    def resolved(match: re.Match[bytes]) -> bytes:
        number = match.group("number")
        return match.group() if number is None else strings[int(number)]

    try:
        return _REFERENCE.sub(resolved, bytes(source.shape))
    except IndexError:
        # Somebody else has written it.
        return None


def hole(name: str) -> Raw:
    """What stands in `around` where something was taken out of it."""
    return raw_of({"$": name})


def _strings(text: bytes) -> Iterator[bytes]:
    return (match.group() for match in _STRING.finditer(text))


def _hash(parts: bytes) -> str:
    return blake2b(parts, digest_size=HASH_BYTES).hexdigest()

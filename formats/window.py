"""The messages of a window as they are served, read part by part."""

from contextlib import suppress
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from formats.parts import Part, read_part, read_parts
from formats.problems import NotExpressible
from formats.raws import items_of, text_of
from formats.ui_parts import UI_MARKS, UiPart, neutral, read_ui_part

EMPTY: Final = Raw()


class Piece(Struct, eq=False, gc=False):
    """A part where it stands. `message`: the index of its message. `fresh`: whether all that stood
    before it when it was said stands there still.

    `ui`: the AI SDK's own form of it, where it is in that, and `raw` the same as it is stored.
    `answer`: the result of a call.
    """

    part: Part
    message: int
    fresh: bool = True
    ui: UiPart | None = None
    raw: Raw = EMPTY
    answer: "Piece | None" = None


class Said(Struct):
    """One message. `parts`, `metadata`: as they are stored. `name`: who of several said it;
    `group`: the same for all that was said in one answer."""

    index: int
    seq: int | None
    role: str
    pieces: list[Piece]
    parts: Raw
    metadata: Raw
    id: str | None
    name: str | None = None
    group: str | None = None


class _Stored(Struct):
    role: str
    parts: Raw
    metadata: Raw
    version: int = 0
    seq: int | UnsetType = UNSET
    id: str | None = None


class _Named(Struct):
    name: Raw | UnsetType = UNSET
    group: Raw | UnsetType = UNSET


_stored = msgspec.json.Decoder(_Stored)
_named = msgspec.json.Decoder(_Named)


def read_message(index: int, body: bytes, unchanged_since: int | None) -> Said:
    """A message as it is stored. Raises `NotExpressible` where a part is not what it should be.

    `unchanged_since`: what was said after this version stands behind the same messages as then;
    None where nothing is known to.
    """
    stored = _stored.decode(body)
    seq = None if stored.seq is UNSET else stored.seq
    fresh = unchanged_since is not None and stored.version > unchanged_since
    said = Said(index, seq, stored.role, [], stored.parts, stored.metadata, stored.id)
    try:
        said.pieces = _pieces(stored.parts, index, fresh)
    except NotExpressible as exc:
        raise NotExpressible(exc.message, seq) from None
    if b'"name":' in body or b'"group":' in body:
        _name(said)
    return said


def _pieces(parts: Raw, index: int, fresh: bool) -> list[Piece]:
    """Most messages have nothing of the AI SDK's, and are read in one go."""
    text = bytes(parts)
    if not any(mark in text for mark in UI_MARKS):
        with suppress(NotExpressible):
            return [Piece(part, index, fresh) for part in read_parts(parts)]
    pieces = []
    for raw in items_of(parts):
        ui = read_ui_part(raw)
        for part in (read_part(raw),) if ui is None else neutral(ui):
            pieces.append(Piece(part, index, fresh, ui, raw))
    return pieces


def _name(said: Said) -> None:
    found = _named.decode(said.metadata)
    said.name = None if found.name is UNSET else text_of(found.name)
    said.group = None if found.group is UNSET else text_of(found.group)

"""What whoever follows a context is told."""

from collections.abc import AsyncGenerator, Generator
from typing import get_args

import msgspec
from msgspec import Struct

from rewindow_client.shapes import Message, Range


class MessageFrame(Struct, frozen=True, tag_field="type", tag="message"):
    """A message was appended."""

    version: int
    seq: int
    message: Message


class ContextFrame(Struct, frozen=True, tag_field="type", tag="context"):
    """How the window stands after a change; `used_tokens` in tokens."""

    version: int
    used_tokens: int
    needs_compaction: bool


class CompactionFrame(Struct, frozen=True, tag_field="type", tag="compaction"):
    """The window was replaced; what stands in it now stands for the range."""

    version: int
    range: Range


class UndoneFrame(Struct, frozen=True, tag_field="type", tag="undone"):
    """The messages of the range were undone."""

    version: int
    range: Range


class TombstonedFrame(Struct, frozen=True, tag_field="type", tag="tombstoned"):
    """The context was deleted; nothing comes after it."""

    version: int


class ResetFrame(Struct, frozen=True, tag_field="type", tag="reset"):
    """The context was made anew: forget what you know of it. All that it holds is told after this,
    from its first message on."""

    version: int


Frame = MessageFrame | ContextFrame | CompactionFrame | UndoneFrame | TombstonedFrame | ResetFrame
"""What a follower is told."""

Frames = Generator[Frame, None, None]
AsyncFrames = AsyncGenerator[Frame, None]
"""One after the other; to be closed by whoever stops listening."""


class Gap(Struct, frozen=True, tag_field="type", tag="gap"):
    """Messages from version `expected` on are no longer hot; what follows begins at `actual`."""

    expected: int
    actual: int


class _Kind(Struct, frozen=True):
    type: str


Told = Frame | Gap
_KINDS = frozenset(one.__struct_config__.tag for one in get_args(Told))
_kind = msgspec.json.Decoder(_Kind)
_told = msgspec.json.Decoder(Told)


def told(data: bytes) -> Told | None:
    """A frame of the stream; None of a ping, and of a kind that a newer server has. Raises
    `msgspec.DecodeError`."""
    return _told.decode(data) if _kind.decode(data).type in _KINDS else None

"""How far something is that goes through the whole log."""

from collections.abc import Callable
from typing import NamedTuple


class Span(NamedTuple):
    """Offsets of one partition of the log, without `end`."""

    start: int
    end: int


class Progress(NamedTuple):
    """Of one partition: offsets of the log that are behind us, of all that are to be read."""

    partition: int
    done: int
    of: int


Watch = Callable[[Progress], None]
"""Told of every partition before anything is done, and then as it goes on."""


def unwatched(_progress: Progress) -> None:
    """Nobody looks on."""

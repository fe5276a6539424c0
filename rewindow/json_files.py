"""Files of JSON, value by value: lines as they are read, anything else as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from formats.conversations import Value, sound
from formats.problems import NotReadable
from formats.raws import items_of
from rewindow.errors import CannotStart
from schemas.codec import Unreadable
from streams.progress import Progress, Watch

_UTF8_MARK: Final = b"\xef\xbb\xbf"


@contextmanager
def values_of(file: Path, watch: Watch) -> Iterator[Iterator[Value]]:
    """Its values, each as the bytes that it is, and where it stands. `watch` is told bytes.

    A line may hold anything: whoever reads it says what is wrong with it. Raises `CannotStart`.
    """
    try:
        with file.open("rb") as opened:
            yield _values(file, opened, watch)
    except OSError as exc:
        raise CannotStart(f"{file} can't be read: {exc.strerror}") from None


def _values(file: Path, opened: BinaryIO, watch: Watch) -> Iterator[Value]:
    first = opened.readline().removeprefix(_UTF8_MARK)
    second = opened.readline()
    if _is_object(first) or (_is_object(second) and first.strip() != b"["):
        return _lines(file, chain([first, second], opened), watch)
    whole = (first + second + opened.read()).strip()
    if not whole:
        raise CannotStart(f"{file} is empty; there is nothing to import")
    return iter(_items(file, whole))


def _lines(file: Path, lines: Iterator[bytes], watch: Watch) -> Iterator[Value]:
    """On line feeds only: texts hold what ends a line elsewhere."""
    size = file.stat().st_size
    done = 0
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"line {number}", line
        done += len(line)
        watch(Progress(0, done, size))


def _items(file: Path, whole: bytes) -> list[Value]:
    try:
        text = bytes(sound(whole))
        if not text.startswith(b"["):
            return [("the file", text)]
        return [(f"item {n}", bytes(one)) for n, one in enumerate(items_of(text), 1)]
    except (NotReadable, Unreadable) as exc:
        raise CannotStart(
            f"{file} is neither JSON nor lines of JSON: {exc}; give a file that is"
        ) from None


def _is_object(line: bytes) -> bool:
    """Whether a whole JSON object stands in one line."""
    try:
        return bytes(sound(line)).startswith(b"{")
    except Unreadable:
        return False

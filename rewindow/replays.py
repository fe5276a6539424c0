"""What `rewindow replay` is told and says: times, and a line for each partition."""

from datetime import datetime
from typing import Final

from rewindow.errors import CannotStart
from streams.transfer import Replayed

LEFT_OUT: Final = {
    "unreadable": "that can't be understood",
    "strays": "in a partition that is not their context's",
    "watermarks": "about the archive of the whole log",
}


def milliseconds(written: str, flag: str) -> int:
    """A time as RFC 3339 has it, since 1970. Raises `CannotStart`."""
    try:
        time = datetime.fromisoformat(written)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise CannotStart(
            f"{flag} {written} is no time with a zone; write 2026-01-31T23:59:59Z, or +01:00 for Z"
        )
    return round(time.timestamp() * 1000)


def line_of_replayed(done: Replayed, *, dry: bool) -> str:
    """One partition, as an operator reads it."""
    total = sum(done.events.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in done.events.items())
    told = f"{total} events{' would be' if dry else ''} replayed"
    line = (
        f"partition {done.partition}  offsets {done.first} to {done.end}: {told}"
        f"{f' ({kinds})' if kinds else ''}, {done.contexts} contexts, {done.bytes} bytes"
    )
    for name, what in LEFT_OUT.items():
        if number := getattr(done, name):
            line += f"; left out: {number} {what}"
    return line

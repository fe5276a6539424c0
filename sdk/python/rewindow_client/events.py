"""Server-sent events: bytes, however they were cut, as events."""

from collections.abc import Iterator

from msgspec import Struct


class Event(Struct, frozen=True):
    """`id`: the version to come back with, None where it moves nothing; `data` is JSON."""

    id: int | None
    data: bytes


class Events:
    """Reads one stream. Lines end at line feeds alone: JSON may hold every other separator."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._id: int | None = None
        self._data: bytes | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are whole now."""
        self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line:
                self._take(bytes(line))
            elif self._data is not None:
                yield Event(self._id, self._data)
                self._id = self._data = None

    def _take(self, line: bytes) -> None:
        """A line without a name is a comment; names that nobody knows are passed over."""
        name, _, value = line.partition(b": ")
        if name == b"data":
            self._data = value
        elif name == b"id" and value.isdigit():
            self._id = int(value)

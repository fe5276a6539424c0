"""What every consumer of a backlog is told, and what it answers."""

import time

from msgspec import Struct


class Backlog(Struct, frozen=True):
    """A topic and the offset behind the last record of each partition. `group`: the consumer's
    name, and the name of its data."""

    kafka: str
    topic: str
    ends: dict[int, int]
    group: str
    folder: str


class Drained(Struct, frozen=True):
    """So many events in so many seconds, of the clock and of the CPU."""

    events: int
    seconds: float
    cpu_s: float


class Progress:
    """From the first event that counts to the last one of the backlog."""

    def __init__(self, backlog: Backlog) -> None:
        self._ends = backlog.ends
        self._left = {p for p, end in backlog.ends.items() if end > 0}
        self._events = 0
        self._begun = 0.0
        self._cpu_s = 0.0

    def begin(self) -> None:
        """Now. What came before does not count."""
        self._begun, self._cpu_s = time.monotonic(), time.process_time()

    def saw(self, partition: int, offset: int, *, counts: bool = True) -> bool:
        """One event is done with. Whether it was the last one."""
        self._events += counts
        if offset >= self._ends[partition] - 1:
            self._left.discard(partition)
        return not self._left

    def end(self) -> Drained:
        """How it went."""
        return Drained(
            self._events, time.monotonic() - self._begun, time.process_time() - self._cpu_s
        )

"""How far a command is, on standard error: a bar for people, else a line now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from streams.progress import Progress, Watch

LINE_S: Final = 10.0
now = time.monotonic


@contextmanager
def progress(doing: str, what: str = "events") -> Iterator[Watch]:
    """Somebody to tell. `doing`: what is done, and with what, as in `12 events folded`."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(doing, what)
        return
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Bars(*columns, console=console, transient=True) as bars:
        yield _Bar(bars, doing, what)


class Pace:
    """All partitions together. What was done before the first word of each makes nothing faster."""

    def __init__(self, what: str = "events") -> None:
        self._what = what
        self._partitions: dict[int, Progress] = {}
        self._before: dict[int, int] = {}
        self._begun = now()

    def add(self, one: Progress) -> None:
        """The newest word of a partition."""
        self._before.setdefault(one.partition, one.done)
        self._partitions[one.partition] = one

    @property
    def done(self) -> int:
        """Of all that is to be read."""
        return sum(one.done for one in self._partitions.values())

    @property
    def of(self) -> int:
        """All that is to be read."""
        return sum(one.of for one in self._partitions.values())

    @property
    def rate(self) -> float:
        """So many a second."""
        seconds = now() - self._begun
        return (self.done - sum(self._before.values())) / seconds if seconds > 0 else 0.0

    @property
    def left_s(self) -> float:
        """Seconds until the end, at this rate."""
        return max(0.0, (self.of - self.done) / self.rate) if self.rate > 0 else 0.0

    def says(self, doing: str) -> str:
        """How far, how fast, and how long still."""
        minutes, seconds = divmod(round(self.left_s), 60)
        return (
            f"{self.done:,} of {self.of:,} {self._what} {doing}, {self.rate:,.0f} {self._what}/s, "
            f"{minutes}:{seconds:02} left"
        )


class _Lines:
    def __init__(self, doing: str, what: str) -> None:
        self._doing = doing
        self._pace = Pace(what)
        self._next = now() + LINE_S

    def __call__(self, one: Progress) -> None:
        self._pace.add(one)
        if now() >= self._next:
            self._next = now() + LINE_S
            sys.stderr.write(f"{self._pace.says(self._doing)}\n")
            sys.stderr.flush()


class _Bar:
    def __init__(self, bars: Bars, doing: str, what: str) -> None:
        self._bars = bars
        self._doing = doing
        self._pace = Pace(what)
        self._task = bars.add_task("", total=None)

    def __call__(self, one: Progress) -> None:
        self._pace.add(one)
        self._bars.update(
            self._task,
            completed=self._pace.done,
            total=self._pace.of,
            description=self._pace.says(self._doing),
        )

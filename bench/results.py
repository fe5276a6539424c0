"""What was seen: figures in tables, and the aims that they are held against."""

import math
import statistics
from collections.abc import Sequence

from msgspec import Struct

from bench.machine import Machine


class Figure(Struct, frozen=True):
    """One thing, seen once a round: the median, the least, the most, and all of them in order."""

    median: float
    least: float
    most: float
    seen: list[float]


def figure(seen: Sequence[float]) -> Figure:
    """Sum up one value a round."""
    return Figure(statistics.median(seen), min(seen), max(seen), list(seen))


def ratio(of: Sequence[float], to: Sequence[float]) -> Figure:
    """Round by round, so that what slows a whole round down does not count."""
    return figure([a / b for a, b in zip(of, to, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class Row(Struct, frozen=True):
    """One variant; its figures stand under the names of the columns."""

    variant: str
    figures: dict[str, Figure]


class Table(Struct, frozen=True):
    """Variants that were measured in turn, under the same conditions."""

    title: str
    rows: list[Row]


class Chart(Struct, frozen=True):
    """Lines of one thing, `y`, over another one, `x`: for each variant the points. Both axes are
    logarithmic, but y where it is `flat`: that one goes up from 0."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, Figure]]]
    flat: bool = False


class Aim(Struct, frozen=True):
    """`most` turns the aim round: what was got must not exceed what was wanted. `goal`: the number
    of the goal in docs/performance.md that it is a part of."""

    what: str
    wanted: float
    got: float
    most: bool = False
    goal: int | None = None

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.got <= self.wanted if self.most else self.got >= self.wanted


class Outcome(Struct, frozen=True):
    """What a job saw. `timed` says exactly what, in a sentence or two."""

    timed: str
    tables: list[Table]
    aims: list[Aim]
    charts: list[Chart] = []


class JobResult(Struct, frozen=True):
    """`others_percent`: of all cores, what processes that are not ours used meanwhile."""

    job: str
    outcome: Outcome
    seconds: float
    others_percent: float


class Report(Struct, frozen=True):
    """One run."""

    date: str
    commit: str
    rounds: int
    machine: Machine
    versions: dict[str, str]
    jobs: list[JobResult]

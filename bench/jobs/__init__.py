"""The jobs, by the names that they are asked for under."""

from collections.abc import Callable

from bench.jobs import append, fold, growth, live, recovery
from bench.results import Outcome
from bench.stage import Stage

JOBS: dict[str, Callable[[Stage], Outcome]] = {
    "fold": fold.run,
    "append": append.run,
    "growth": growth.run,
    "live": live.run,
    "recovery": recovery.run,
}

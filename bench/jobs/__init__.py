"""The jobs, by the names that they are asked for under: a job is the module of its name."""

from collections.abc import Callable
from importlib import import_module
from typing import Final

from bench.results import Outcome
from bench.stage import Stage

TABLE: Final = (
    "append",
    "reads",
    "mixed",
    "fold",
    "growth",
    "stored",
    "archive",
    "recovery",
    "rebuild",
)
"""What runs when nothing is named."""
LONG: Final = ("live", "failover", "nodes", "overload", "start")
"""What runs when it is named."""


def job(name: str) -> Callable[[Stage], Outcome]:
    """The job of that name. It is imported now: some need packages that the others don't."""
    run: Callable[[Stage], Outcome] = import_module(f"{__name__}.{name}").run
    return run

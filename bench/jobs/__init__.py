"""The jobs, by the names that they are asked for under."""

from collections.abc import Callable

from bench.jobs import append, failover, fold, growth, live, nodes, overload, rebuild, recovery
from bench.results import Outcome
from bench.stage import Stage

JOBS: dict[str, Callable[[Stage], Outcome]] = {
    "fold": fold.run,
    "append": append.run,
    "growth": growth.run,
    "live": live.run,
    "failover": failover.run,
    "nodes": nodes.run,
    "overload": overload.run,
    "recovery": recovery.run,
    "rebuild": rebuild.run,
}

"""Rows of tables that hold what clients saw."""

from collections.abc import Sequence
from typing import Final

from bench.clients import Answers
from bench.results import Figure, Row, figure, ratio

FIELDS: Final = {
    "p50 ms": "p50_ms",
    "p95 ms": "p95_ms",
    "p99 ms": "p99_ms",
    "per second": "per_second",
}
CLIENTS_CPU: Final = "clients' CPU %"


def seen(answers: Sequence[Answers], field: str) -> list[float]:
    """One of the figures of each round, by the name of its column."""
    return [getattr(one, FIELDS[field]) for one in answers]


def answered(
    variant: str, answers: Sequence[Answers], more: dict[str, Figure] | None = None
) -> Row:
    """One variant, all its figures, `more` of them, and what the clients used for it."""
    figures = {name: figure(seen(answers, name)) for name in FIELDS}
    clients = figure([one.cpu_percent for one in answers])
    return Row(variant, {**figures, **(more or {}), CLIENTS_CPU: clients})


def compared(what: str, of: Sequence[Answers], to: Sequence[Answers]) -> Row:
    """Ratios, round by round."""
    return Row(what, {name: ratio(seen(of, name), seen(to, name)) for name in FIELDS})

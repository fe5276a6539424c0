"""Results as a reader wants them: tables on the terminal, JSON and Markdown in a file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table as Picture

from bench.results import Aim, Figure, JobResult, Report, Table

WIDTH_LEAST: Final = 120


def show(result: JobResult) -> None:
    """On the terminal."""
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH_LEAST)
    for table in result.outcome.tables:
        picture = Picture(title=f"{result.job}: {table.title}", title_justify="left")
        picture.add_column("")
        for name in _columns(table):
            picture.add_column(name, justify="right")
        for cells in _cells(table):
            picture.add_row(*cells)
        console.print(picture)
    for aim in result.outcome.aims:
        console.print(f"  [{'green' if aim.met else 'red'}]{_said(aim)}[/]")
    console.print(f"  {_circumstances(result)}")


def write(report: Report, folder: Path) -> list[Path]:
    """Both files, `<date>-<commit>`."""
    folder.mkdir(exist_ok=True)
    name = f"{report.date}-{report.commit}"
    written = {
        folder / f"{name}.json": msgspec.json.format(msgspec.json.encode(report), indent=1),
        folder / f"{name}.md": "\n".join(_markdown(report)).encode(),
    }
    for file, content in written.items():
        file.write_bytes(content + b"\n")
    return list(written)


def _markdown(report: Report) -> Iterable[str]:
    of = report.machine
    yield f"# {report.date}, commit {report.commit}\n"
    yield f"{of.cpu}, {of.cores} cores, {of.memory_gib} GiB, {of.system}, data on {of.disk}\n"
    yield ", ".join(f"{name} {number}" for name, number in report.versions.items()) + "\n"
    yield f"Median of {report.rounds} rounds; the least and the most in brackets."
    for result in report.jobs:
        yield f"\n## {result.job}\n"
        yield result.outcome.timed
        for table in result.outcome.tables:
            columns = _columns(table)
            yield f"\n| {table.title} | {' | '.join(columns)} |"
            yield "|---|" + "---:|" * len(columns)
            for cells in _cells(table):
                yield f"| {' | '.join(cells)} |"
        yield ""
        for aim in result.outcome.aims:
            yield f"- {_said(aim)}"
        yield f"\n{_circumstances(result)}"


def _columns(table: Table) -> list[str]:
    return list(dict.fromkeys(name for row in table.rows for name in row.figures))


def _cells(table: Table) -> Iterable[list[str]]:
    for row in table.rows:
        figures = (row.figures.get(name) for name in _columns(table))
        yield [row.variant, *("" if one is None else _short(one) for one in figures)]


def _short(one: Figure) -> str:
    if len(one.seen) == 1:
        return _number(one.median)
    return f"{_number(one.median)} ({_number(one.least)}–{_number(one.most)})"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _said(aim: Aim) -> str:
    sign = "≤" if aim.most else "≥"
    met = "met" if aim.met else "MISSED"
    return f"{aim.what}: {_number(aim.got)} (aim {sign} {_number(aim.wanted)}) {met}"


def _circumstances(result: JobResult) -> str:
    return (
        f"{result.seconds:.0f} s in all; other programs used {result.others_percent:.0f}% of the "
        "machine meanwhile."
    )

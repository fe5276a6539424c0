"""Results as a reader wants them: tables on the terminal; JSON, Markdown and a picture in files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table as Picture

from bench.results import Aim, Figure, JobResult, Report, Table

WIDTH_LEAST: Final = 120
GOAL_COLUMNS: Final = ("goal", "what", "aim", "figure", "")


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


def show_goals(report: Report) -> None:
    """On the terminal: the last thing that is said, if any was measured."""
    goals = list(_goals(report))
    if not goals:
        return
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH_LEAST)
    picture = Picture(title="goals", title_justify="left")
    for name in GOAL_COLUMNS:
        picture.add_column(name)
    for cells in goals:
        picture.add_row(*cells)
    console.print(picture)


def write(report: Report, folder: Path) -> list[Path]:
    """All files, `<date>-<commit>`."""
    folder.mkdir(exist_ok=True)
    name = f"{report.date}-{report.commit}"
    charts = [chart for job in report.jobs for chart in job.outcome.charts]
    written = {
        folder / f"{name}.json": msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n",
        folder / f"{name}.md": "\n".join(_markdown(report, f"{name}.svg")).encode() + b"\n",
    }
    if charts:
        # Half a second, which nobody should wait for who only looks at the jobs.
        from bench.charts import drawn

        written[folder / f"{name}.svg"] = drawn(charts, f"{report.date}, commit {report.commit}")
    for file, content in written.items():
        file.write_bytes(content)
    return list(written)


def _markdown(report: Report, picture: str) -> Iterable[str]:
    of = report.machine
    yield f"# {report.date}, commit {report.commit}\n"
    yield f"{of.cpu}, {of.cores} cores, {of.memory_gib} GiB, {of.system}, data on {of.disk}\n"
    yield ", ".join(f"{name} {number}" for name, number in report.versions.items()) + "\n"
    yield f"Median of {report.rounds} rounds; the least and the most in brackets."
    goals = list(_goals(report))
    if goals:
        yield f"\n| {' | '.join(GOAL_COLUMNS)} |"
        yield "|---" * len(GOAL_COLUMNS) + "|"
        for cells in goals:
            yield f"| {' | '.join(cells)} |"
    if any(result.outcome.charts for result in report.jobs):
        yield f"\n![what of it can be drawn]({picture})"
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


def _goals(report: Report) -> Iterable[list[str]]:
    """Every part of each goal that was measured, in the order of their numbers."""
    aims = [aim for result in report.jobs for aim in result.outcome.aims if aim.goal is not None]
    for aim in sorted(aims, key=lambda one: one.goal or 0):
        wanted = f"{_sign(aim)} {_number(aim.wanted)}"
        reached = "reached" if aim.met else "MISSED"
        yield [str(aim.goal), aim.what, wanted, _number(aim.got), reached]


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
    met = "met" if aim.met else "MISSED"
    return f"{aim.what}: {_number(aim.got)} (aim {_sign(aim)} {_number(aim.wanted)}) {met}"


def _sign(aim: Aim) -> str:
    return "≤" if aim.most else "≥"


def _circumstances(result: JobResult) -> str:
    return (
        f"{result.seconds:.0f} s in all; other programs used {result.others_percent:.0f}% of the "
        "machine meanwhile."
    )

"""All state made anew out of the log, and proven by a replay of it: how fast, on one core and on
all."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import psutil

from bench import kafka
from bench.messages import PARTITIONS, TOKENS, contexts
from bench.records import records
from bench.results import Aim, Outcome, Row, Table, figure, ratio
from bench.servers import Servers, servers
from bench.stage import Stage, turned
from rewindow.errors import CannotStart
from schemas.topics import Topics
from streams.rebuild import rebuild
from streams.settings import StreamSettings
from streams.verify import verify

CONTEXTS: Final = 200
WANTED: Final = 15_000
REBUILD: Final = "rebuild, one core"
VERIFY: Final = "verify, one core"
READ: Final = "only read, one core"

TIMED: Final = f"""\
A log with messages of 1 KB over {CONTEXTS} contexts in 4 partitions, each with its token count, \
as nodes write them. Rebuild: `streams.rebuild.rebuild` from its call to its end, the fold and the \
writing of both changelogs, with an empty scratch space. Verify: `streams.verify.verify`, the \
fold, the restore of both changelogs and the hashes of both. Only read: librdkafka alone over the \
same log, which does nothing with it. On one core: this process and its \
children are held to the first core; the broker may use all of them. CPU is this process's and its \
children's."""


class _Workload(NamedTuple):
    title: str
    events: int
    messages: int


WORKLOADS: Final = (
    _Workload("one message an event", 20_000, 1),
    _Workload("ten messages an event", 2_000, 10),
)


class _Seen(NamedTuple):
    events: int
    seconds: float
    cpu_s: float


def run(stage: Stage) -> Outcome:
    """Both workloads."""
    tables: list[Table] = []
    aims: list[Aim] = []
    with servers(stage.folder / "servers", postgres=False) as ours:
        for number, workload in enumerate(WORKLOADS):
            rows = _rows(stage, ours, workload, f"w{number}")
            tables.append(Table(workload.title, rows))
            if workload.messages == 1:
                aims += [
                    Aim(f"{row.variant}: events/s", WANTED, row.figures["events/s"].median, goal=6)
                    for row in rows
                    if row.variant in (REBUILD, VERIFY)
                ]
    return Outcome(TIMED, tables, aims)


def _rows(stage: Stage, ours: Servers, workload: _Workload, prefix: str) -> list[Row]:
    settings = StreamSettings(kafka=ours.kafka, prefix=prefix)
    events = stage.much(workload.events)
    kafka.make_deployment(ours.kafka, prefix)
    kafka.produce(
        ours.kafka,
        Topics(prefix).log,
        records(contexts(CONTEXTS), events, messages=workload.messages, tokens=TOKENS),
    )

    def rebuilds() -> None:
        done = list(rebuild(settings, scratch))
        if sum(one.events for one in done) != events:
            raise CannotStart("not every event was folded")

    def verifies() -> None:
        if not all(verdict.agrees for verdict in verify(settings, [], scratch)):
            raise CannotStart("what was rebuilt is not what the log says")

    def reads() -> None:
        log = kafka.read(ours.kafka, Topics(prefix).log, dict.fromkeys(range(PARTITIONS), 0))
        if sum(map(len, log)) != events:
            raise CannotStart("not every event was read")

    scratch = stage.folder / "scratch"
    variants: dict[str, tuple[Callable[[], None], bool]] = {
        REBUILD: (rebuilds, True),
        "rebuild, all cores": (rebuilds, False),
        VERIFY: (verifies, True),
        READ: (reads, True),
    }
    seen: dict[str, list[_Seen]] = {name: [] for name in variants}
    # The first makes the changelogs that the others read.
    for number in range(stage.rounds):
        for name in turned(tuple(variants), 0 if number == 0 else number):
            what, pinned = variants[name]
            scratch.mkdir()
            with _held_to_one_core(pinned):
                seen[name].append(_timed(what, events))
            shutil.rmtree(scratch)
            rate = events / seen[name][-1].seconds
            stage.say(f"{workload.title}, round {number + 1}: {name}: {rate:,.0f} events/s")
    table = [_row(name, all_, workload.messages) for name, all_ in seen.items()]
    rates = {row.variant: row.figures["events/s"].seen for row in table}
    table += [
        Row(f"{name} ÷ {READ}", {"events/s": ratio(rates[name], rates[READ])})
        for name in (REBUILD, VERIFY)
    ]
    return table


@contextmanager
def _held_to_one_core(pinned: bool) -> Iterator[None]:
    """Children and threads that are made meanwhile are held to it as well."""
    all_ = os.sched_getaffinity(0)
    try:
        if pinned:
            os.sched_setaffinity(0, {min(all_)})
        yield
    finally:
        os.sched_setaffinity(0, all_)


def _timed(what: Callable[[], None], events: int) -> _Seen:
    cpu_s, begun = _cpu_s(), time.monotonic()
    what()
    return _Seen(events, time.monotonic() - begun, _cpu_s() - cpu_s)


def _cpu_s() -> float:
    """Of children those that have ended, which the folds have when a rebuild is done."""
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _row(name: str, seen: list[_Seen], messages: int) -> Row:
    figures = {"events/s": figure([one.events / one.seconds for one in seen])}
    if messages > 1:
        figures["messages/s"] = figure([messages * one.events / one.seconds for one in seen])
    figures["CPU µs an event"] = figure([1e6 * one.cpu_s / one.events for one in seen])
    return Row(name, figures)

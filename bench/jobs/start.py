"""Starting again: everything with its data on disk, and a node whose disk is empty."""

import sys
import time
from pathlib import Path
from typing import Final

from bench import kafka
from bench.filled import fold_rows
from bench.messages import PARTITIONS, contexts
from bench.records import records
from bench.results import Outcome, Row, Table, figure
from bench.servers import Servers, running, servers
from bench.stage import Stage, turned
from bench.watching import await_archived
from rewindow.embedded.ports import free_port
from rewindow.embedded.server import Server
from rewindow.endpoints import read_endpoints
from schemas.topics import Topics

CONTEXTS: Final = 200
UP_MESSAGES: Final = 20_000
ROWS: Final = 200_000
PER_EVENT: Final = 10

TIMED: Final = f"""\
Cold start: `rewindow up` (Kafka, Postgres and a node) over a folder with {UP_MESSAGES:,} \
messages, stopped cleanly before, from the making of its process to the line `ready`; what the \
operating system had of the files in memory stays there. A node: it has folded {ROWS:,} rows and \
more into its changelogs, and is started with an empty disk, and with its own, both from the \
making of the process until it is ready."""


class _Up(Server):
    """`rewindow up` over a data folder."""

    title = "rewindow up"
    ready_s = 90
    stop_s = 60
    look_again_s = 0.01

    def __init__(self, logs: Path, name: str, data: Path) -> None:
        super().__init__(name, logs)
        self._data = data

    def _launch(self) -> None:
        told = ["--data", str(self._data), "--port", str(free_port())]
        self._spawn([sys.executable, "-P", "-m", "rewindow", "up", *told])

    def _serves(self) -> bool:
        return b"ready http" in self.log.read_bytes()


def run(stage: Stage) -> Outcome:
    """Both kinds of start."""
    return Outcome(TIMED, [_cold_starts(stage), _nodes(stage)], [])


def _cold_starts(stage: Stage) -> Table:
    data = stage.folder / "up"
    with running(_Up(stage.folder, "first", data)) as up:
        address = read_endpoints(data).kafka
        topics = Topics()
        messages = stage.much(UP_MESSAGES)
        events = records(contexts(CONTEXTS), messages // PER_EVENT, messages=PER_EVENT)
        kafka.produce(address, topics.log, events)
        await_archived(up, address, topics, dict.fromkeys(range(PARTITIONS), 0), messages)
    times = []
    for number in range(stage.rounds):
        begun = time.monotonic()
        with running(_Up(stage.folder, f"again-{number}", data)):
            times.append(time.monotonic() - begun)
        stage.say(f"cold start: {times[-1]:.1f} s")
    return Table("cold start", [Row("`rewindow up` to ready", {"s": figure(times)})])


def _nodes(stage: Stage) -> Table:
    topics = Topics("start")
    empty: list[float] = []
    full: list[float] = []
    with servers(stage.folder / "servers", postgres=False) as ours:
        fold_rows(stage, ours, topics, ROWS)

        def starts_empty() -> None:
            empty.append(_started(ours, topics.prefix, f"empty-{len(empty)}"))

        def starts_full() -> None:
            full.append(_started(ours, topics.prefix, None))

        for number in range(stage.rounds):
            for part in turned((starts_empty, starts_full), number):
                part()
            stage.say(f"round {number + 1}: {empty[-1]:.1f} s and {full[-1]:.1f} s")
    rows = [
        Row("with an empty disk", {"s": figure(empty)}),
        Row("with its own disk", {"s": figure(full)}),
    ]
    return Table(f"a node with {ROWS:,} rows, to ready", rows)


def _started(ours: Servers, prefix: str, name: str | None) -> float:
    node = ours.new_node(prefix, name=name)
    begun = time.monotonic()
    with running(node):
        return time.monotonic() - begun

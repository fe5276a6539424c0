"""Starting again: everything with its data on disk, and a node whose disk is empty."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from faust.stores.rocksdb import RocksDBOptions

from bench import kafka
from bench.messages import PARTITIONS, contexts, records
from bench.results import Aim, Figure, Outcome, Row, Table, figure, ratio
from bench.servers import Servers, running, servers
from bench.stage import Stage, turned
from bench.watching import await_archived
from rewindow.embedded.ports import free_port
from rewindow.embedded.server import Server
from rewindow.endpoints import read_endpoints
from schemas.topics import TAILS, WINDOWS, Topics
from streams.tables.restore import restore

CONTEXTS: Final = 200
UP_MESSAGES: Final = 20_000
ROWS: Final = 200_000
PER_EVENT: Final = 10
OFFSET_KEY: Final = b"\0bench"
MB: Final = 1e6

TIMED: Final = f"""\
Cold start: `rewindow up` (Kafka, Postgres and a node) over a folder with {UP_MESSAGES:,} \
messages, stopped cleanly before, from the making of its process to the line `ready`; what the \
operating system had of the files in memory stays there. Recovery: a node has folded \
{ROWS:,} rows and more into its changelogs. Then (a) `streams.tables.restore` brings both tables, \
side by side as the node does it, onto an empty disk, into RocksDB as the node opens it; \
(b) librdkafka alone reads the same bytes, likewise side by side, and does nothing with them; \
(c) a node is started with an empty disk, and (d) with its own, both from the making of the \
process until it is ready."""


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
    cold = _cold_starts(stage)
    rows, aim = _recoveries(stage)
    return Outcome(TIMED, [cold, Table("200,000 rows from the changelogs", rows)], [aim])


# -- cold start -----------------------------------------------------------------------------------


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


# -- recovery -------------------------------------------------------------------------------------


class _Read(NamedTuple):
    """So many rows, in so many seconds of the clock and of the CPU."""

    rows: int
    bytes: int
    seconds: float
    cpu_s: float


def _recoveries(stage: Stage) -> tuple[list[Row], Aim]:
    topics = Topics("recovery")
    restored: list[_Read] = []
    bare: list[_Read] = []
    empty: list[float] = []
    full: list[float] = []
    with servers(stage.folder / "servers", postgres=False) as ours:
        _fill(stage, ours, topics)

        def restores() -> None:
            folder = stage.folder / f"restored-{len(restored)}"
            restored.append(_timed(lambda topic: _restore(ours, topic, folder), topics))

        def reads() -> None:
            bare.append(_timed(lambda topic: _read(ours, topic), topics))

        def starts_empty() -> None:
            empty.append(_started(ours, topics.prefix, f"empty-{len(empty)}"))

        def starts_full() -> None:
            full.append(_started(ours, topics.prefix, None))

        for number in range(stage.rounds):
            for part in turned((restores, reads, starts_empty, starts_full), number):
                part()
            stage.say(f"round {number + 1}: {restored[-1].rows / restored[-1].seconds:,.0f} rows/s")
    rows = [_row("(a) restored", restored), _row("(b) only read", bare)]
    rates = [row.figures["rows/s"].seen for row in rows]
    rows.append(Row("(a) ÷ (b)", {"rows/s": ratio(*rates)}))
    rows.append(Row("(c) node, empty disk, to ready", {"s": figure(empty)}))
    rows.append(Row("(d) node, its own disk, to ready", {"s": figure(full)}))
    return rows, Aim("rows restored a second", 40_000, rows[0].figures["rows/s"].median)


def _fill(stage: Stage, ours: Servers, topics: Topics) -> None:
    """Ten messages an event make eleven rows, and the head."""
    kafka.make_deployment(ours.kafka, topics.prefix)
    events = stage.much(ROWS) // (PER_EVENT + 1) + 1
    kafka.produce(ours.kafka, topics.log, records(contexts(CONTEXTS), events, messages=PER_EVENT))
    with running(ours.new_node(topics.prefix)):
        # Ready is caught up; a clean stop makes all of it durable.
        pass
    stage.say(f"{events:,} events of {PER_EVENT} messages folded")


def _timed(one: Callable[[str], tuple[int, int]], topics: Topics) -> _Read:
    """Both changelogs, side by side."""
    begun, cpu_s = time.monotonic(), time.process_time()
    with ThreadPoolExecutor() as threads:
        done = list(threads.map(one, (topics.changelog(name) for name in (WINDOWS, TAILS))))
    return _Read(
        sum(rows for rows, _ in done),
        sum(size for _, size in done),
        time.monotonic() - begun,
        time.process_time() - cpu_s,
    )


def _restore(ours: Servers, topic: str, folder: Path) -> tuple[int, int]:
    options = RocksDBOptions(block_cache_size=16 << 20, write_buffer_size=4 << 20)
    dbs = {}
    for partition in range(PARTITIONS):
        path = folder / f"{topic}-{partition}"
        path.mkdir(parents=True)
        dbs[partition] = options.open(path)
    rows = restore(kafka.config(ours.kafka), topic, dbs, OFFSET_KEY)
    for db in dbs.values():
        db.close()
    return rows, 0


def _read(ours: Servers, topic: str) -> tuple[int, int]:
    starts = dict.fromkeys(range(PARTITIONS), 0)
    rows = size = 0
    for found in kafka.read(ours.kafka, topic, starts):
        rows += len(found)
        size += sum(len(message) for message in found)
    return rows, size


def _started(ours: Servers, prefix: str, name: str | None) -> float:
    node = ours.new_node(prefix, name=name)
    begun = time.monotonic()
    with running(node):
        return time.monotonic() - begun


def _row(name: str, seen: list[_Read]) -> Row:
    figures: dict[str, Figure] = {
        "rows": figure([one.rows for one in seen]),
        "s": figure([one.seconds for one in seen]),
        "rows/s": figure([one.rows / one.seconds for one in seen]),
        "CPU µs a row": figure([1e6 * one.cpu_s / one.rows for one in seen]),
    }
    if seen[0].bytes:
        figures["MB/s"] = figure([one.bytes / MB / one.seconds for one in seen])
    return Row(name, figures)

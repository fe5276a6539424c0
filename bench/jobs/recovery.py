"""Tables brought back from their changelogs, beside librdkafka alone over the same bytes."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from faust.stores.rocksdb import RocksDBOptions

from bench import kafka
from bench.filled import fold_rows
from bench.messages import PARTITIONS
from bench.results import Aim, Figure, Outcome, Row, Table, figure, ratio
from bench.servers import Servers, servers
from bench.stage import Stage, turned
from schemas.topics import TAILS, WINDOWS, Topics
from streams.tables.restore import restore

ROWS: Final = 100_000
WANTED: Final = 60_000
OFFSET_KEY: Final = b"\0bench"
MB: Final = 1e6

TIMED: Final = f"""\
A node has folded {ROWS:,} rows and more into its changelogs. Then `streams.tables.restore` brings \
both tables, side by side as the node does it, onto an empty disk, into RocksDB as the node opens \
it; and librdkafka alone reads the same bytes, likewise side by side, and does nothing with them. \
CPU: of this process, all its threads."""


class _Read(NamedTuple):
    """So many rows, in so many seconds of the clock and of the CPU."""

    rows: int
    bytes: int
    seconds: float
    cpu_s: float


def run(stage: Stage) -> Outcome:
    """Both in turn."""
    topics = Topics("recovery")
    restored: list[_Read] = []
    bare: list[_Read] = []
    with servers(stage.folder / "servers", postgres=False) as ours:
        fold_rows(stage, ours, topics, ROWS)

        def restores() -> None:
            folder = stage.folder / f"restored-{len(restored)}"
            restored.append(_timed(lambda topic: _restore(ours, topic, folder), topics))

        def reads() -> None:
            bare.append(_timed(lambda topic: _read(ours, topic), topics))

        for number in range(stage.rounds):
            for part in turned((restores, reads), number):
                part()
            stage.say(f"round {number + 1}: {restored[-1].rows / restored[-1].seconds:,.0f} rows/s")
    rows = [_row("restored", restored), _row("only read", bare)]
    rates = [row.figures["rows/s"] for row in rows]
    rows.append(Row("restored ÷ only read", {"rows/s": ratio(*(one.seen for one in rates))}))
    aim = Aim("rows restored a second", WANTED, rates[0].median, goal=6)
    return Outcome(TIMED, [Table(f"{ROWS:,} rows from the changelogs", rows)], [aim])


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

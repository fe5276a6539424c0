"""Facts into Postgres: how fast, beside COPY alone."""

import time
from typing import Final, NamedTuple

import psycopg

from bench import kafka
from bench.machine import CpuWatch
from bench.messages import TOKENS, contexts
from bench.records import records
from bench.results import Aim, Outcome, Row, Table, figure, ratio
from bench.servers import Servers, running, servers
from bench.stage import Stage, turned
from bench.watching import await_archived
from schemas.topics import Topics

PREFIX: Final = "archive"
CONTEXTS: Final = 200
PER_EVENT: Final = 10
ROWS: Final = 80_000
BATCH: Final = 5_000
"""As many rows as the archive writes at once."""
WANTED: Final = 20_000

NODE: Final = "a node, facts to rows"
INTO: Final = "COPY into the same table"
BARE: Final = "COPY into a table without indices"
VARIANTS: Final = (NODE, INTO, BARE)
COLUMNS: Final = "context_id, seq, version, role, body, token_count, event_id, inserted_at"
TIMED: Final = f"""\
A node without an archive has folded {ROWS:,} messages with 1 KB of text over {CONTEXTS} contexts, \
in events of {PER_EVENT}, so that their facts are there. Then a node with an archive, a new \
database each round, brings them to Postgres: from its first watermark in the log to its last one, \
and what is archived with the first does not count. COPY alone: the same rows, in the binary \
format, made beforehand, {BATCH:,} in a transaction, into a table of the same kind, and into one \
without any index; the first of them does not count. CPU: of the node, or of COPY's client."""


class _Seen(NamedTuple):
    """So many rows, in so many seconds; CPU in seconds, of who writes."""

    rows: int
    seconds: float
    cpu_s: float


def run(stage: Stage) -> Outcome:
    """The facts first, then the three in turn."""
    seen: dict[str, list[_Seen]] = {variant: [] for variant in VARIANTS}
    with servers(stage.folder) as ours:
        _fold(stage, ours)
        # The rows that COPY is to bring are those that the archive has brought.
        _archived(stage, ours, "first")
        batches = _batches(ours.database("first"))
        for number in range(stage.rounds):
            for variant in turned(VARIANTS, number):
                if variant == NODE:
                    one = _archived(stage, ours, f"round-{number}")
                else:
                    one = _copied(ours.database("first"), variant, batches, stage.much(ROWS))
                seen[variant].append(one)
                stage.say(f"round {number + 1}: {variant}: {one.rows / one.seconds:,.0f} rows/s")
    rows = [_row(variant, all_) for variant, all_ in seen.items()]
    rates = {row.variant: row.figures["rows/s"] for row in rows}
    rows += [
        Row(f"node ÷ {beside}", {"rows/s": ratio(rates[NODE].seen, rates[beside].seen)})
        for beside in (INTO, BARE)
    ]
    aim = Aim("facts to Postgres: rows/s", WANTED, rates[NODE].median, goal=7)
    return Outcome(TIMED, [Table("Archive", rows)], [aim])


def _fold(stage: Stage, ours: Servers) -> None:
    kafka.make_deployment(ours.kafka, PREFIX)
    events = stage.much(ROWS) // PER_EVENT
    made = records(contexts(CONTEXTS), events, messages=PER_EVENT, tokens=TOKENS)
    kafka.produce(ours.kafka, Topics(PREFIX).log, made)
    with running(ours.new_node(PREFIX, archive=None)):
        # Ready is caught up.
        stage.say(f"{events:,} events of {PER_EVENT} messages folded")


def _archived(stage: Stage, ours: Servers, database: str) -> _Seen:
    topics = Topics(PREFIX)
    starts = kafka.ends(ours.kafka, topics.log)
    node = ours.new_node(PREFIX, archive=database)
    node.start()
    try:
        assert node.pid is not None, "started"
        cpu = CpuWatch(node.pid)
        seen = await_archived(node, ours.kafka, topics, starts, stage.much(ROWS))
    finally:
        node.stop()
    cpu.close()
    rows, seconds = seen.messages - seen.with_first, seen.ended - seen.begun
    return _Seen(rows, seconds, cpu.used(seen.begun, seen.ended))


def _batches(url: str) -> list[bytes]:
    """The rows of an archive, in the order in which they came, as COPY takes them."""
    batches = []
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        found = cursor.execute("select count(*) from messages").fetchone()
        assert found is not None, "a count has a row"
        for first in range(0, found[0], BATCH):
            rows = f"select {COLUMNS} from messages order by ctid limit {BATCH} offset {first}"
            with cursor.copy(f"copy ({rows}) to stdout (format binary)") as copy:
                batches.append(b"".join(map(bytes, copy)))
    return batches


def _copied(url: str, variant: str, batches: list[bytes], rows: int) -> _Seen:
    with psycopg.connect(url, autocommit=True) as connection:
        including = " including all" if variant == INTO else ""
        connection.execute(f"create table copied (like messages{including})")
        _copy(connection, batches[0])
        begun, cpu_s = time.monotonic(), time.process_time()
        for batch in batches[1:]:
            _copy(connection, batch)
        seconds, cpu_s = time.monotonic() - begun, time.process_time() - cpu_s
        connection.execute("drop table copied")
    return _Seen(rows - BATCH, seconds, cpu_s)


def _copy(connection: psycopg.Connection, batch: bytes) -> None:
    """Committed, and on the disk, when it returns."""
    into = f"copy copied ({COLUMNS}) from stdin (format binary)"
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        copy.write(batch)


def _row(variant: str, seen: list[_Seen]) -> Row:
    return Row(
        variant,
        {
            "rows/s": figure([one.rows / one.seconds for one in seen]),
            "CPU µs a row": figure([1e6 * one.cpu_s / one.rows for one in seen]),
        },
    )

"""What a message takes where it is kept: in Kafka, in RocksDB, in Postgres."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import psycopg

from bench import kafka
from bench.clients import Load, answers_to
from bench.http import Http
from bench.messages import TOKENS, bodies, contexts
from bench.records import records
from bench.results import Aim, Figure, Outcome, Row, Table, figure
from bench.servers import QuietNode, Servers, running, servers
from bench.stage import Stage
from bench.topics import bytes_of_topics
from bench.watching import until
from schemas.topics import Topics

CONTEXTS: Final = 200
CLIENTS: Final = 20
WRITES_S: Final = 5.0
EVENTS: Final = 1_000
PER_EVENT: Final = 10
MOST: Final = 3.5

TIMED: Final = f"""\
{CONTEXTS} contexts get messages with 1 KB of text, over HTTP by {CLIENTS} clients for \
{WRITES_S:g} s, or straight by the log, {EVENTS:,} events of {PER_EVENT}. When all of them are \
archived the node is stopped, and what is on the disk is divided by how many there are. Kafka: the \
log files of each topic, one copy, before anything is compacted. RocksDB: all files of a node, its \
logs of writes too. Postgres: the tables of the archive with their indices. All of them are young: \
the hot tail has every message still. The message: the body of its request."""


class _Stored(NamedTuple):
    """Bytes of each place, and how many messages there are."""

    kafka: dict[str, int]
    rocksdb: int
    postgres: dict[str, int]
    messages: int


def run(stage: Stage) -> Outcome:
    """A deployment for each way in. Bytes are no matter of chance: one round is enough."""
    ways: dict[str, Callable[[Stage, Servers, QuietNode, str], None]] = {
        f"over HTTP, {CLIENTS} clients": _over_http,
        f"by the log, {PER_EVENT} an event": _by_the_log,
    }
    seen = {}
    with servers(stage.folder) as ours:
        for number, (name, write) in enumerate(ways.items()):
            seen[name] = _stored(stage, ours, f"stored-{number}", write)
            stage.say(f"{name}: {seen[name].messages:,} messages")
    return _outcome(seen)


def _stored(
    stage: Stage,
    ours: Servers,
    prefix: str,
    write: Callable[[Stage, Servers, QuietNode, str], None],
) -> _Stored:
    kafka.make_deployment(ours.kafka, prefix)
    before = bytes_of_topics(ours.data, prefix)
    with running(ours.new_node(prefix)) as node:
        http = Http(node.url)
        for context_id in contexts(CONTEXTS):
            http.put(context_id)
        write(stage, ours, node, prefix)
        heads = [http.get(one) for one in contexts(CONTEXTS)]
    after = bytes_of_topics(ours.data, prefix)
    return _Stored(
        {name: after[name] - before[name] for name in after},
        _bytes_below(ours.folder.path / f"{prefix}-node"),
        _postgres(ours.database(prefix)),
        sum(head["last_seq"] for head in heads),
    )


def _over_http(stage: Stage, _ours: Servers, node: QuietNode, _prefix: str) -> None:
    seconds = WRITES_S / 10 if stage.quick else WRITES_S
    answers_to(Load([node.url], CLIENTS, contexts(CONTEXTS), 0, seconds), stage.folder)
    _await_archived(node)


def _by_the_log(stage: Stage, ours: Servers, node: QuietNode, prefix: str) -> None:
    events = stage.much(EVENTS)
    made = records(contexts(CONTEXTS), events, messages=PER_EVENT, tokens=TOKENS)
    kafka.produce(ours.kafka, Topics(prefix).log, made)
    until(
        lambda: (
            sum(Http(node.url).get(one)["last_seq"] for one in contexts(CONTEXTS))
            == events * PER_EVENT
        ),
        "all events are folded",
    )
    _await_archived(node)


def _await_archived(node: QuietNode) -> None:
    http = Http(node.url)

    def archived() -> bool:
        heads = (http.get(one) for one in contexts(CONTEXTS))
        return all(head["archived_seq"] == head["last_seq"] for head in heads)

    until(archived, "all messages are archived")


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _postgres(url: str) -> dict[str, int]:
    """Of the messages, and of all the other tables."""
    with psycopg.connect(url) as connection:
        sizes = connection.execute(
            "select relname = 'messages', sum(pg_total_relation_size(oid))::bigint from pg_class "
            "where relkind = 'r' and relnamespace = 'public'::regnamespace group by 1"
        ).fetchall()
    return {"messages" if of_messages else "others": size for of_messages, size in sizes}


def _outcome(seen: dict[str, _Stored]) -> Outcome:
    size = sum(map(len, bodies())) / len(bodies())
    tables = []
    aims = []
    for name, stored in seen.items():
        places = {
            "the message": size * stored.messages,
            "Kafka, all topics": sum(stored.kafka.values()),
            **{f"Kafka, {topic}": of for topic, of in stored.kafka.items()},
            "RocksDB": stored.rocksdb,
            **{f"Postgres, {table}": of for table, of in stored.postgres.items()},
        }
        rows = [Row(place, _figures(of / stored.messages, size)) for place, of in places.items()]
        tables.append(Table(f"{name}, {stored.messages:,} messages", rows))
        times = rows[1].figures["÷ message"].median
        aims.append(Aim(f"{name}: Kafka bytes ÷ message", MOST, times, most=True, goal=5))
    return Outcome(TIMED, tables, aims)


def _figures(each: float, size: float) -> dict[str, Figure]:
    return {"bytes a message": figure([each]), "÷ message": figure([each / size])}

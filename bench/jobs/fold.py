"""Events produced straight to the log: how fast a node folds them, beside what does less or the
same in the ordinary way."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from bench import kafka
from bench.beside.drained import Backlog, Drained
from bench.child import call
from bench.machine import CpuWatch
from bench.messages import TOKENS, contexts
from bench.records import records
from bench.results import Aim, Figure, Outcome, Row, Table, figure, ratio
from bench.servers import Servers, servers
from bench.stage import Stage, turned
from bench.watching import await_archived, folded
from schemas.topics import Topics

CONTEXTS: Final = 200

NODE: Final = "a node, archive on"
PLAIN: Final = "plain Faust agent, same core"
IDLE: Final = "Faust agent that does nothing"
BARE: Final = "bare aiokafka loop"
BESIDE: Final = {
    PLAIN: "bench.beside.plain_agent",
    IDLE: "bench.beside.idle_agent",
    BARE: "bench.beside.bare_consumer",
}

TIMED: Final = """\
The whole backlog is produced first, messages with 1 KB of text over 200 contexts in 4 partitions. \
Then one program after the other reads it from its start; their order turns \
from round to round. A node is timed from its first transaction to the last one of the backlog, by \
the times of their position rows in the changelog, so that everything counted is durable; the \
events of the first transaction don't count. Until archived: from the first transaction to the \
last watermark in the log, which follows the commit in Postgres. The plain agent is timed from the \
first event taken to the last one folded, the other two from the end of their first batch to the \
end of the last one, that first batch not counted. CPU is the program's own, all its threads."""


class _Workload(NamedTuple):
    """So many events, of so many messages each; who reads them beside the node; and what the node,
    or its ratio to another one, is held against, by variants and columns."""

    title: str
    events: int
    messages: int
    tokens: int | None
    beside: tuple[str, ...] = ()
    wanted: Mapping[tuple[str, str], float] = {}


WORKLOADS: Final = (
    _Workload(
        "one message, with its token count",
        events=8_000,
        messages=1,
        tokens=TOKENS,
        beside=(PLAIN, IDLE, BARE),
        wanted={
            (NODE, "events/s"): 6_000,
            (f"node ÷ {PLAIN}", "events/s"): 5,
            (f"node ÷ {IDLE}", "events/s"): 0.6,
        },
    ),
    _Workload("one message, to be counted", events=6_000, messages=1, tokens=None),
    _Workload(
        "ten messages, with their token counts",
        events=2_000,
        messages=10,
        tokens=TOKENS,
        beside=(BARE,),
        wanted={(NODE, "messages/s"): 20_000},
    ),
)


class _Seen(NamedTuple):
    """What one program did with a backlog. Broker and archive: of the node only."""

    drained: Drained
    broker_cpu_s: float | None = None
    archived_s: float | None = None


def run(stage: Stage) -> Outcome:
    """Every workload, and in it every program in turn."""
    tables: list[Table] = []
    aims: list[Aim] = []
    with servers(stage.folder) as ours:
        for number, workload in enumerate(WORKLOADS):
            seen: dict[str, list[_Seen]] = {name: [] for name in (NODE, *workload.beside)}
            for round_ in range(stage.rounds):
                _round(stage, ours, workload, f"w{number}r{round_}", round_, seen)
            rows = [_row(name, all_, workload.messages) for name, all_ in seen.items()]
            rates = {row.variant: row.figures["events/s"].seen for row in rows}
            rows += [
                Row(f"node ÷ {name}", {"events/s": ratio(rates[NODE], rates[name])})
                for name in workload.beside
            ]
            tables.append(Table(workload.title, rows))
            aims += _aims(workload, rows)
    return Outcome(TIMED, tables, aims)


def _aims(workload: _Workload, rows: list[Row]) -> list[Aim]:
    figures = {row.variant: row.figures for row in rows}
    return [
        Aim(
            f"{workload.title}: {variant}, {column}",
            wanted,
            figures[variant][column].median,
            goal=4,
        )
        for (variant, column), wanted in workload.wanted.items()
    ]


def _round(
    stage: Stage,
    ours: Servers,
    workload: _Workload,
    prefix: str,
    number: int,
    seen: dict[str, list[_Seen]],
) -> None:
    topics = Topics(prefix)
    events = stage.much(workload.events)
    kafka.make_deployment(ours.kafka, prefix)
    kafka.produce(
        ours.kafka,
        topics.log,
        records(contexts(CONTEXTS), events, messages=workload.messages, tokens=workload.tokens),
    )
    ends = kafka.ends(ours.kafka, topics.log)
    for name in turned((NODE, *workload.beside), number):
        if name == NODE:
            one = _node(ours, prefix, ends, events * workload.messages)
        else:
            one = _beside(stage, ours, BESIDE[name], topics, ends)
        seen[name].append(one)
        per_second = one.drained.events / one.drained.seconds
        stage.say(f"{workload.title}, round {number + 1}: {name}: {per_second:,.0f} events/s")


def _node(ours: Servers, prefix: str, ends: dict[int, int], messages: int) -> _Seen:
    topics = Topics(prefix)
    node = ours.new_node(prefix)
    broker = CpuWatch(ours.broker_pid)
    node.start()
    try:
        assert node.pid is not None, "started"
        cpu = CpuWatch(node.pid)
        archived = await_archived(node, ours.kafka, topics, ends, messages)
    finally:
        node.stop()
    cpu.close()
    broker.close()
    span = folded(ours.kafka, topics, ends)
    between = (span.begun, span.ended)
    drained = Drained(span.events, span.ended - span.begun, cpu.used(*between))
    return _Seen(drained, broker.used(*between), archived.ended - span.begun)


def _beside(
    stage: Stage, ours: Servers, module: str, topics: Topics, ends: dict[int, int]
) -> _Seen:
    group = f"{topics.prefix}-{module.rpartition('.')[2]}"
    kafka.make_deployment(ours.kafka, group)
    told = Backlog(ours.kafka, topics.log, ends, group, str(stage.folder))
    return _Seen(call(module, told, Drained, stage.folder))


def _row(name: str, seen: list[_Seen], messages: int) -> Row:
    drained = [one.drained for one in seen]
    figures: dict[str, Figure] = {"events/s": figure([d.events / d.seconds for d in drained])}
    if messages > 1:
        figures["messages/s"] = figure([messages * d.events / d.seconds for d in drained])
    figures["CPU µs an event"] = figure([1e6 * d.cpu_s / d.events for d in drained])
    broker = [s.broker_cpu_s for s in seen if s.broker_cpu_s is not None]
    if broker:
        figures["broker CPU µs"] = figure(
            [1e6 * cpu_s / d.events for cpu_s, d in zip(broker, drained, strict=True)]
        )
    archived = [s.archived_s for s in seen if s.archived_s is not None]
    if archived:
        figures["until archived, events/s"] = figure(
            [d.events / archived_s for archived_s, d in zip(archived, drained, strict=True)]
        )
    return Row(name, figures)

"""One, two and three nodes on this machine: what they do a second, and what all of it uses."""

from typing import Final, NamedTuple

from bench.clients import Answers, Load, answers_to
from bench.cluster import Cluster, all_serve, clustered
from bench.http import Http
from bench.machine import CpuWatch
from bench.messages import contexts
from bench.results import Outcome, Row, Table, figure
from bench.rows import answered
from bench.stage import Stage

NODES: Final = (1, 2, 3)
CONTEXTS: Final = 200
CLIENTS: Final = 48
WARM_UP_S: Final = 3.0
SECONDS: Final = 8.0

TIMED: Final = f"""\
{CLIENTS} clients in a closed loop, as many at each node, append 1 KB to {CONTEXTS} contexts; the \
archive is on. A request that comes to another node than its context's is passed on. Broker, \
nodes, Postgres and clients share the cores of this machine, so that more nodes are not more \
hardware: what can be seen is what passing on costs, and how far one process was the limit. CPU: \
of all threads, as a share of one core; of all nodes together, of the broker, of the clients."""


class _Seen(NamedTuple):
    """One round; CPU in seconds a second."""

    answers: Answers
    nodes_cpu: float
    broker_cpu: float


def run(stage: Stage) -> Outcome:
    """A deployment of its own for each number of nodes."""
    seen: dict[int, list[_Seen]] = {count: [] for count in NODES}
    for count in NODES:
        with clustered(stage.folder / f"nodes-{count}", brokers=1, nodes=count) as cluster:
            all_serve(cluster.nodes)
            http = Http(cluster.nodes[0].url)
            for context_id in contexts(CONTEXTS):
                http.put(context_id)
            for number in range(stage.rounds):
                seen[count].append(_round(stage, cluster))
                stage.say(
                    f"{count} nodes, round {number + 1}: "
                    f"{seen[count][-1].answers.per_second:,.0f}/s"
                )
    rows = [_row(f"{count} node{'s' if count > 1 else ''}", seen[count]) for count in NODES]
    return Outcome(TIMED, [Table("Appends", rows)], [])


def _round(stage: Stage, cluster: Cluster) -> _Seen:
    watches = [CpuWatch(one.pid) for one in cluster.nodes if one.pid is not None]
    brokers = [CpuWatch(one.pid) for one in cluster.brokers if one.pid is not None]
    urls = [node.url for node in cluster.nodes]
    load = Load(urls, CLIENTS, contexts(CONTEXTS), WARM_UP_S, SECONDS)
    (answers,) = answers_to(load, stage.folder)
    nodes_s, broker_s = (
        sum(one.used(answers.begun, answers.ended) for one in several)
        for several in (watches, brokers)
    )
    for one in (*watches, *brokers):
        one.close()
    span_s = answers.ended - answers.begun
    return _Seen(answers, nodes_s / span_s, broker_s / span_s)


def _row(name: str, seen: list[_Seen]) -> Row:
    more = {
        "nodes' CPU %": figure([100 * one.nodes_cpu for one in seen]),
        "broker's CPU %": figure([100 * one.broker_cpu for one in seen]),
    }
    return answered(name, [one.answers for one in seen], more)

"""Nodes and brokers that go and come: how long nobody serves a partition, and what clients see."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple

from bench.child import call
from bench.cluster import Cluster, all_serve, clustered, partitions_of
from bench.messages import PARTITIONS, contexts
from bench.results import Aim, Outcome, Row, Table, figure
from bench.servers import QuietNode
from bench.stage import Stage, turned
from bench.steady import Kept, Steady
from bench.watching import until
from streams.log_writer import partition_of

NODES: Final = 3
BROKERS: Final = 3
PER_PARTITION: Final = 12
EVERY_S: Final = 0.4
WARM_UP_S: Final = 3.0
SECONDS: Final = 18.0
STEADY_S: Final = 3.0
BROKER_ROUNDS_MAX: Final = 3
BROKER_AWAY_S: Final = 8.0
CURED_PERCENT: Final = 95.0

TIMED: Final = f"""\
{NODES} nodes, Kafka and Postgres; {PER_PARTITION} contexts in each of {PARTITIONS} partitions, to \
each of which a client appends every {EVERY_S:g} s, at the next node in turn. An append that gets \
no 201 is tried once more, at the next node, at once where the connection broke and after \
`Retry-After` where it was told; what is not cured by that is an error. Gap: the longest time \
between two acknowledged appends to a partition, so that {EVERY_S / PER_PARTITION:.2f} s are seen \
where nothing happens; of the partitions that the node had, and of all others. Afterwards every \
context is read: lost is what was acknowledged and is not at its seq, doubled what is there more \
than once. Each round has another node as its victim."""


class _Round(NamedTuple):
    """`had`: the partitions of whoever was hit."""

    had: frozenset[int]
    kept: Kept

    def gap(self, *, hit: bool) -> float:
        """The longest of the partitions that were hit, or of the others."""
        gaps = [gap for p, gap in enumerate(self.kept.gaps) if (p in self.had) is hit]
        return max(gaps, default=0.0)


Event = Callable[[Cluster, QuietNode], None]


def run(stage: Stage) -> Outcome:
    """Nodes with one broker, then brokers with all nodes."""
    rounds: dict[str, list[_Round]] = {name: [] for name in EVENTS}
    with clustered(stage.folder / "one", brokers=1, nodes=NODES) as cluster:
        for number in range(stage.rounds):
            for name in turned(tuple(EVENTS), number):
                rounds[name].append(_round(stage, cluster, name, number))
    brokers = []
    with clustered(stage.folder / "three", brokers=BROKERS, nodes=NODES) as cluster:
        for number in range(min(stage.rounds, BROKER_ROUNDS_MAX)):
            brokers.append(_broker_round(stage, cluster, number))
    return _outcome(rounds, brokers)


# -- what happens ---------------------------------------------------------------------------------


def _killed_and_started(_cluster: Cluster, node: QuietNode) -> None:
    _send(node, signal.SIGKILL)
    node.wait_ended()
    node.start()


def _killed(_cluster: Cluster, node: QuietNode) -> None:
    _send(node, signal.SIGKILL)


def _stopped_and_started(_cluster: Cluster, node: QuietNode) -> None:
    _send(node, signal.SIGTERM)
    node.wait_ended()
    node.start()


def _stopped(_cluster: Cluster, node: QuietNode) -> None:
    _send(node, signal.SIGTERM)


def _joined(_cluster: Cluster, node: QuietNode) -> None:
    node.start()


EVENTS: Final[dict[str, Event]] = {
    "kill -9, started again at once": _killed_and_started,
    "kill -9, gone": _killed,
    "SIGTERM, started again at once": _stopped_and_started,
    "SIGTERM, gone": _stopped,
    "a node joins": _joined,
}


def _send(node: QuietNode, by: signal.Signals) -> None:
    assert node.pid is not None, "it runs"
    os.kill(node.pid, by)


def _round(stage: Stage, cluster: Cluster, name: str, number: int) -> _Round:
    node = cluster.nodes[number % NODES]
    all_serve(cluster.nodes)
    if EVENTS[name] is _joined:
        node.stop()
        all_serve([one for one in cluster.nodes if one is not node])
    had: list[frozenset[int]] = []

    def happens() -> None:
        had.append(partitions_of(node) or frozenset(range(PARTITIONS)))
        EVENTS[name](cluster, node)

    kept = _meanwhile(stage, cluster, happens)
    if node.status is not None:
        node.start()
    seen = _Round(had[0], kept)
    stage.say(
        f"{name}: {seen.gap(hit=True):.1f} s (others {seen.gap(hit=False):.1f} s), {kept.errors} "
        f"of {kept.contexts} contexts with errors; {kept.said}"
    )
    return seen


def _broker_round(stage: Stage, cluster: Cluster, number: int) -> _Round:
    broker = cluster.brokers[number % BROKERS]
    all_serve(cluster.nodes)

    def killed() -> None:
        assert broker.pid is not None, "it runs"
        os.kill(broker.pid, signal.SIGKILL)
        broker.wait_ended()
        time.sleep(BROKER_AWAY_S)
        broker.start()
        broker.wait_ready()

    kept = _meanwhile(stage, cluster, killed)
    seen = _Round(frozenset(range(PARTITIONS)), kept)
    stage.say(f"a broker: {seen.gap(hit=True):.1f} s, {kept.errors} contexts with errors")
    return seen


def _meanwhile(stage: Stage, cluster: Cluster, event: Callable[[], None]) -> Kept:
    """Something happens after the warm-up of clients, who go on for a while."""
    names = _contexts(f"{time.time():.0f}")
    urls = [node.url for node in cluster.nodes]
    begun = stage.folder / f"begun-{time.time():.0f}"
    asked = Steady(urls, names, EVERY_S, WARM_UP_S, SECONDS, str(begun))
    with ThreadPoolExecutor(1) as pool:
        clients = pool.submit(call, "bench.steady", asked, Kept, stage.folder)
        until(lambda: begun.exists() or clients.done(), "the clients are warm")
        event()
        return clients.result()


def _contexts(run_: str) -> list[str]:
    """As many in each partition."""
    names = [f"{name}-{run_}" for name in contexts(PARTITIONS * PER_PARTITION * 4)]
    return [
        name
        for partition in range(PARTITIONS)
        for name in islice((n for n in names if partition_of(n, PARTITIONS) == partition), 12)
    ]


# -- what came of it ------------------------------------------------------------------------------


def _outcome(rounds: dict[str, list[_Round]], brokers: list[_Round]) -> Outcome:
    rows = [_row(name, seen) for name, seen in rounds.items()]
    table = Table("a node of three", rows)
    third = Table("kill -9 of a broker of three", [_row("all partitions", brokers)])
    every = [one for seen in (*rounds.values(), brokers) for one in seen]
    kills = [*rounds["kill -9, started again at once"], *rounds["kill -9, gone"]]
    terms = [*rounds["SIGTERM, started again at once"], *rounds["SIGTERM, gone"]]
    aims = [
        Aim("acknowledged appends that are lost", 0, sum(o.kept.lost for o in every), most=True),
        Aim("appends that are there twice", 0, sum(o.kept.doubled for o in every), most=True),
        Aim("kill -9: contexts that one retry cures, %", CURED_PERCENT, min(map(_cured, kills))),
        Aim("SIGTERM: contexts that one retry cures, %", 100, min(map(_cured, terms))),
        _gap_aim("kill -9, started again at once", 4, rounds),
        _gap_aim("kill -9, gone", 8, rounds),
        _gap_aim("a node joins", 2, rounds),
        Aim("a broker killed: gap in s, worst", 4, max(map(_worst, brokers)), most=True),
    ]
    return Outcome(TIMED, [table, third], aims)


def _row(name: str, seen: list[_Round]) -> Row:
    return Row(
        name,
        {
            "gap, s": figure([one.gap(hit=True) for one in seen]),
            "gap of the others, s": figure([one.gap(hit=False) for one in seen]),
            "cured by one retry, % of contexts": figure([_cured(one) for one in seen]),
            "acknowledged": figure([one.kept.acknowledged for one in seen]),
            "retried": figure([one.kept.retried for one in seen]),
            "lost": figure([one.kept.lost for one in seen]),
            "doubled": figure([one.kept.doubled for one in seen]),
        },
    )


def _gap_aim(name: str, seconds: float, rounds: dict[str, list[_Round]]) -> Aim:
    return Aim(f"{name}: gap in s, worst", seconds, max(map(_worst, rounds[name])), most=True)


def _worst(one: _Round) -> float:
    return max(one.kept.gaps)


def _cured(one: _Round) -> float:
    return 100 * (1 - one.kept.errors / one.kept.contexts)

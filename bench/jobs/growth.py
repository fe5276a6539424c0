"""What an append costs in Kafka as its conversation grows: it should stay flat."""

import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from bench import kafka
from bench.http import Http
from bench.messages import bodies, records
from bench.results import Aim, Outcome, Row, Table, figure
from bench.servers import Servers, running, servers
from bench.stage import Stage
from bench.watching import until
from schemas.topics import TAILS, WINDOWS, Topics

POINTS: Final = (10, 1_000, 20_000)
PROBES: Final = 20
PER_EVENT: Final = 10
FLAT: Final = 1.1
STILL_S: Final = 0.3
OWN: Final = "Kafka's own"

TIMED: Final = f"""\
One context is filled straight by the log up to a message. Then {PROBES} appends of one message \
with 1 KB of text follow over HTTP, one after the other: the dearest kind, a transaction each. \
Bytes: what the log files of all topics have grown on the broker's disk, from before the first of \
them until all are archived and nothing moves any more, divided by {PROBES}. Nothing is compacted \
meanwhile. Kafka's own: the states of transactions and the offsets of groups. From about message \
40 on the policy drops a message at each append, and says so in a fact; from message 1,000 on the \
trimming deletes two rows for each append."""


class _Probed(NamedTuple):
    """Bytes an append, by topic, and the median time of one in seconds."""

    bytes: dict[str, float]
    median_s: float


def run(stage: Stage) -> Outcome:
    """A new context in a new deployment each round, and in it every point."""
    points = [stage.much(point) if point > PER_EVENT else point for point in POINTS]
    seen: dict[int, list[_Probed]] = {point: [] for point in points}
    with servers(stage.folder) as ours:
        for number in range(stage.rounds):
            prefix = f"g{number}"
            kafka.make_deployment(ours.kafka, prefix)
            with running(ours.new_node(prefix)) as node:
                http = Http(node.url)
                http.put(prefix)
                for point in points:
                    _fill(ours, http, prefix, point)
                    seen[point].append(_probe(ours, http, prefix))
                    total = sum(seen[point][-1].bytes.values())
                    stage.say(f"round {number + 1}, message {point:,}: {total:,.0f} bytes")
    return _outcome(seen)


def _fill(ours: Servers, http: Http, prefix: str, point: int) -> None:
    """Up to so many messages, by the log."""
    have = http.get(prefix)["last_seq"]
    events = records([prefix], (point - have) // PER_EVENT, messages=PER_EVENT, first=have)
    kafka.produce(ours.kafka, Topics(prefix).log, events)
    _settle(ours, http, prefix, point)


def _probe(ours: Servers, http: Http, prefix: str) -> _Probed:
    before = _sizes(ours.data, prefix)
    have = http.get(prefix)["last_seq"]
    times = []
    for body in bodies()[:PROBES]:
        begun = time.perf_counter()
        http.append(prefix, body)
        times.append(time.perf_counter() - begun)
    _settle(ours, http, prefix, have + PROBES)
    after = _sizes(ours.data, prefix)
    return _Probed(
        {name: (after[name] - before[name]) / PROBES for name in after}, statistics.median(times)
    )


def _settle(ours: Servers, http: Http, prefix: str, messages: int) -> None:
    """Until all is folded and archived, and the topics have stopped to grow."""
    until(lambda: http.get(prefix)["archived_seq"] >= messages, f"{messages} messages are archived")

    def still() -> bool:
        before = _sizes(ours.data, prefix)
        time.sleep(STILL_S)
        after = _sizes(ours.data, prefix)
        # Offsets of groups are written by the clock, work or no work.
        return {**before, OWN: 0} == {**after, OWN: 0}

    until(still, "the topics stop to grow")


def _sizes(data: Path, prefix: str) -> dict[str, int]:
    """Bytes of log files by topic."""
    topics = Topics(prefix)
    names = {
        topics.log: "log",
        topics.facts: "facts",
        topics.changelog(TAILS): "tails",
        topics.changelog(WINDOWS): "windows",
        "__transaction_state": OWN,
        "__consumer_offsets": OWN,
    }
    sizes = dict.fromkeys(names.values(), 0)
    for file in data.glob("*/*.log"):
        topic = file.parent.name.rpartition("-")[0]
        if topic in names:
            sizes[names[topic]] += file.stat().st_size
    return sizes


def _outcome(seen: dict[int, list[_Probed]]) -> Outcome:
    size = statistics.mean(len(body) for body in bodies()[:PROBES])
    rows = []
    totals = {}
    for point, probed in seen.items():
        by_topic = defaultdict(list)
        for one in probed:
            for name, grown in one.bytes.items():
                by_topic[name].append(grown)
        total = figure([sum(one.bytes.values()) for one in probed])
        totals[point] = total.median
        rows.append(
            Row(
                f"at message {point:,}",
                {
                    "all": total,
                    **{name: figure(grown) for name, grown in by_topic.items()},
                    "÷ request body": figure([sum(one.bytes.values()) / size for one in probed]),
                    "p50 ms": figure([1000 * one.median_s for one in probed]),
                },
            )
        )
    first, middle, last = totals
    aims = [
        Aim(
            f"bytes at message {last:,} ÷ at {point:,}",
            FLAT,
            totals[last] / totals[point],
            most=True,
        )
        for point in (first, middle)
    ]
    return Outcome(TIMED, [Table("Kafka bytes an append", rows)], aims)

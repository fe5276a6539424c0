"""What an append and a read of the window cost as their conversation grows: it should stay flat."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from bench import kafka
from bench.filled import fill
from bench.http import Http
from bench.messages import bodies
from bench.results import Aim, Chart, Figure, Outcome, Row, Table, figure, ratio
from bench.servers import Servers, running, servers
from bench.stage import Stage, turned
from bench.topics import KAFKAS_OWN, bytes_of_topics
from bench.watching import until

PREFIX: Final = "growth"
POINTS: Final = (10, 1_000, 10_000, 100_000)
PROBES: Final = 100
FLAT: Final = 1.1
STILL_S: Final = 0.3

TIMED: Final = f"""\
Contexts with the default settings are filled straight by the log up to so many messages. Then \
{PROBES} appends of one message with 1 KB of text follow over HTTP, one after the other, which is \
the dearest kind; and {PROBES} reads of the window. They go to one context, but at message 10 to \
ten new ones, ten to each. The order of the points turns from round to round. Bytes: \
what the log files of all topics have grown on the broker's disk, from before the first of the \
appends until all are archived and nothing moves any more, divided by {PROBES}. Kafka's own: the \
states of transactions and the offsets of groups. From about message 40 on the policy drops a \
message at each append, and says so in a fact; from message 1,000 on the trimming deletes two rows \
for each append."""


class _Probed(NamedTuple):
    """Bytes an append, by topic; and the median time of an append and of a read, in ms."""

    bytes: Mapping[str, float]
    append_ms: float
    read_ms: float

    @property
    def all_bytes(self) -> float:
        """An append, in all topics."""
        return sum(self.bytes.values())


def run(stage: Stage) -> Outcome:
    """All contexts are filled first, and then probed in turn."""
    points = tuple(point if point <= PROBES else stage.much(point) for point in POINTS)
    seen: dict[int, list[_Probed]] = {point: [] for point in points}
    with servers(stage.folder) as ours:
        kafka.make_deployment(ours.kafka, PREFIX)
        with running(ours.new_node(PREFIX)) as node:
            http = Http(node.url)
            for point in points:
                rounds = range(stage.rounds)
                ids = {one: None for number in rounds for one in _contexts(point, number)}
                fill(ours, node.url, PREFIX, tuple(ids), point, b"{}")
            stage.say("all contexts are filled")
            for number in range(stage.rounds):
                for point in turned(points, number):
                    probed = _probe(ours, http, _contexts(point, number))
                    seen[point].append(probed)
                    stage.say(
                        f"round {number + 1}, message {point:,}: {probed.append_ms:.2f} ms and "
                        f"{probed.all_bytes:,.0f} bytes an append, {probed.read_ms:.2f} ms a read"
                    )
    return _outcome(seen)


def _contexts(point: int, number: int) -> list[str]:
    """Where the appends of one round go: they should not make a short conversation a long one."""
    if point > PROBES:
        return [f"at-{point}"]
    return [f"at-{point}-{number}-{i}" for i in range(PROBES // point)]


def _probe(ours: Servers, http: Http, ids: list[str]) -> _Probed:
    have = {one: int(http.get(one)["last_seq"]) for one in ids}
    # One conversation after the other: what is said in one go shares its transactions.
    turns = [one for one in ids for _ in range(PROBES // len(ids))]
    _settle(ours, http, have)
    before = bytes_of_topics(ours.data, PREFIX)
    appends = zip(turns, bodies(), strict=False)
    append_ms = _median_ms(partial(http.append, one, body) for one, body in appends)
    _settle(ours, http, {one: seq + turns.count(one) for one, seq in have.items()})
    after = bytes_of_topics(ours.data, PREFIX)
    read_ms = _median_ms(partial(http.read, one, "context") for one in turns)
    grown = {name: (after[name] - before[name]) / PROBES for name in after}
    return _Probed(grown, append_ms, read_ms)


def _median_ms(each: Iterable[Callable[[], object]]) -> float:
    """Of one call, one after the other."""
    times = []
    for one in each:
        begun = time.perf_counter()
        one()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def _settle(ours: Servers, http: Http, seqs: Mapping[str, int]) -> None:
    """Until all of these are archived, and the topics have stopped to grow."""
    until(
        lambda: all(http.get(one)["archived_seq"] >= seq for one, seq in seqs.items()),
        f"{len(seqs)} contexts are archived",
    )

    def still() -> bool:
        before = bytes_of_topics(ours.data, PREFIX)
        time.sleep(STILL_S)
        after = bytes_of_topics(ours.data, PREFIX)
        # Offsets of groups are written by the clock, work or no work.
        return {**before, KAFKAS_OWN: 0} == {**after, KAFKAS_OWN: 0}

    until(still, "the topics stop to grow")


def _outcome(seen: dict[int, list[_Probed]]) -> Outcome:
    first = seen[min(seen)]
    rows = []
    aims = []
    for point, probed in seen.items():
        time_ratio = ratio([one.append_ms for one in probed], [one.append_ms for one in first])
        byte_ratio = ratio([one.all_bytes for one in probed], [one.all_bytes for one in first])
        rows.append(
            Row(
                f"at message {point:,}",
                {
                    "append p50 ms": figure([one.append_ms for one in probed]),
                    "÷ first": time_ratio,
                    "window p50 ms": figure([one.read_ms for one in probed]),
                    "bytes": figure([one.all_bytes for one in probed]),
                    "bytes ÷ first": byte_ratio,
                    **_by_topic(probed),
                },
            )
        )
        if probed is not first:
            times, grown = time_ratio.median, byte_ratio.median
            aims += [
                Aim(f"append at message {point:,} ÷ at first", FLAT, times, most=True, goal=5),
                Aim(f"bytes at message {point:,} ÷ at first", FLAT, grown, most=True, goal=5),
            ]
    return Outcome(TIMED, [Table("One append, one window", rows)], aims, _charts(seen))


def _by_topic(probed: list[_Probed]) -> dict[str, Figure]:
    return {name: figure([one.bytes[name] for one in probed]) for name in probed[0].bytes}


def _charts(seen: dict[int, list[_Probed]]) -> list[Chart]:
    times = {
        name: [
            (float(point), figure([getattr(one, field) for one in probed]))
            for point, probed in seen.items()
        ]
        for name, field in (("an append", "append_ms"), ("a window", "read_ms"))
    }
    return [Chart("as the conversation grows", "messages", "p50 ms", times, flat=True)]

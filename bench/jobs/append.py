"""Appends over HTTP, beside the raw round trip and a server with nothing behind it."""

from typing import Final, NamedTuple

from bench import kafka
from bench.beside.bare_server import BareServer
from bench.beside.round_trip import Trips
from bench.child import call
from bench.clients import Answers, Appends
from bench.http import Http
from bench.machine import CpuWatch
from bench.messages import contexts
from bench.results import Outcome, Row, Table, figure, ratio
from bench.servers import Servers, running, servers
from bench.stage import Stage, turned
from schemas.topics import Topics

PREFIX: Final = "append"
TRIPS: Final = "trips"
CONTEXTS: Final = 200
CLIENTS: Final = (1, 20)
WARM_UP_S: Final = 1.0
SECONDS: Final = 4.0
QUICK_SECONDS: Final = 1.0

NODE: Final = "a node, archive on"
RAW: Final = "raw round trip"
BARE: Final = "uvicorn, nothing behind it"
VARIANTS: Final = (NODE, RAW, BARE)

TIMED: Final = """\
Each client has one connection, kept alive, and sends its next append (one message with 1 KB of \
text) when it has the answer to the last one: a closed loop. Timed from the writing of a request \
to the end of its answer, in a process of the clients' own, with requests made beforehand; what \
that process used of one core stands beside. A second of warm-up does not count. The raw round \
trip: the same texts produced by librdkafka with acks=all, to their arrival at a librdkafka \
consumer in the same process, as many in flight as there are clients. CPU is that of all threads \
of the program named, for each request."""


class _Seen(NamedTuple):
    """One round of one variant. CPU: of the server and of the broker, none for the raw round trip,
    where the broker is the server."""

    answers: Answers
    server_cpu_s: float
    broker_cpu_s: float | None = None


class _Programs(NamedTuple):
    """What is asked, all at once on the machine, one at a time at work."""

    stage: Stage
    ours: Servers
    urls: dict[str, str]
    cpu: dict[str, CpuWatch]

    def seen(self, variant: str, clients: int) -> _Seen:
        """One round."""
        seconds = QUICK_SECONDS if self.stage.quick else SECONDS
        if variant == RAW:
            trips = Trips(self.ours.kafka, Topics(TRIPS).log, clients, WARM_UP_S, seconds)
            answers = call("bench.beside.round_trip", trips, Answers, self.stage.folder)
        else:
            appends = Appends([self.urls[variant]], clients, contexts(CONTEXTS), WARM_UP_S, seconds)
            answers = call("bench.clients", appends, Answers, self.stage.folder)
        broker_s, server_s = (
            self.cpu[one].used(answers.begun, answers.ended) for one in (RAW, variant)
        )
        return _Seen(answers, server_s, broker_s if variant == NODE else None)


def run(stage: Stage) -> Outcome:
    """One client, then twenty; the programs in turn."""
    seen: dict[tuple[int, str], list[_Seen]] = {
        (clients, variant): [] for clients in CLIENTS for variant in VARIANTS
    }
    with servers(stage.folder) as ours:
        kafka.make_deployment(ours.kafka, PREFIX)
        kafka.make_deployment(ours.kafka, TRIPS)
        with running(ours.new_node(PREFIX)) as node, running(BareServer(ours.folder)) as bare:
            http = Http(node.url)
            for context_id in contexts(CONTEXTS):
                http.put(context_id)
            pids = {NODE: node.pid, RAW: ours.broker_pid, BARE: bare.pid}
            programs = _Programs(
                stage,
                ours,
                {NODE: node.url, BARE: bare.url},
                {name: CpuWatch(pid) for name, pid in pids.items() if pid is not None},
            )
            for number in range(stage.rounds):
                for clients in CLIENTS:
                    for variant in turned(VARIANTS, number):
                        one = programs.seen(variant, clients)
                        seen[clients, variant].append(one)
                        stage.say(
                            f"round {number + 1}, {clients} clients: {variant}: p50 "
                            f"{one.answers.p50_ms:.2f} ms, {one.answers.per_second:,.0f}/s"
                        )
    return _outcome(seen)


def _outcome(seen: dict[tuple[int, str], list[_Seen]]) -> Outcome:
    tables = []
    for clients in CLIENTS:
        rows = [_row(variant, seen[clients, variant]) for variant in VARIANTS]
        for beside in (RAW, BARE):
            rows.append(
                Row(
                    f"node ÷ {beside}",
                    {
                        name: ratio(
                            [getattr(one.answers, field) for one in seen[clients, NODE]],
                            [getattr(one.answers, field) for one in seen[clients, beside]],
                        )
                        for name, field in (("p50 ms", "p50_ms"), ("per second", "per_second"))
                    },
                )
            )
        tables.append(Table("1 client" if clients == 1 else f"{clients} clients", rows))
    return Outcome(TIMED, tables, [])


def _row(variant: str, seen: list[_Seen]) -> Row:
    answers = [one.answers for one in seen]
    figures = {
        "p50 ms": figure([a.p50_ms for a in answers]),
        "p95 ms": figure([a.p95_ms for a in answers]),
        "p99 ms": figure([a.p99_ms for a in answers]),
        "per second": figure([a.per_second for a in answers]),
        "CPU µs": figure([1e6 * s.server_cpu_s / s.answers.requests for s in seen]),
    }
    broker = [s.broker_cpu_s for s in seen if s.broker_cpu_s is not None]
    if broker:
        figures["broker CPU µs"] = figure(
            [1e6 * cpu_s / a.requests for cpu_s, a in zip(broker, answers, strict=True)]
        )
    figures["clients' CPU %"] = figure([a.cpu_percent for a in answers])
    return Row(variant, figures)

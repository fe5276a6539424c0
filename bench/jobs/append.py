"""Appends over HTTP, beside the raw round trip, a server with nothing behind it, and stores that a
team would write."""

from typing import Final, NamedTuple

from bench import kafka
from bench.beside.bare_server import BareServer
from bench.beside.round_trip import Trips
from bench.child import call
from bench.clients import Answers, Load, answers_to
from bench.http import Http
from bench.machine import CpuWatch
from bench.messages import contexts
from bench.results import Aim, Chart, Outcome, Row, Table, figure
from bench.rows import answered, compared
from bench.servers import Servers, running, servers
from bench.stage import Stage, turned
from bench.stores import POSTGRES, STORES, stores
from schemas.topics import Topics

PREFIX: Final = "append"
TRIPS: Final = "trips"
CONTEXTS: Final = 200
CLIENTS: Final = (1, 20, 50, 200)
WARM_UP_S: Final = 0.5
SECONDS: Final = 1.2
QUICK_SECONDS: Final = 0.5

NODE: Final = "a node, archive on"
RAW: Final = "raw round trip"
BARE: Final = "uvicorn, nothing behind it"
VARIANTS: Final = (NODE, RAW, BARE, *STORES)

TIMED: Final = f"""\
Each client has one connection, kept alive, and sends its next append (one message with 1 KB of \
text) when it has the answer to the last one: a closed loop. Timed from the writing of a request \
to the end of its answer, in a process of the clients' own, with requests made beforehand; what \
that process used of one core stands beside. {WARM_UP_S:g} s of warm-up do not count, {SECONDS:g} \
s do. The raw round trip: the same texts produced by librdkafka with acks=all, to their arrival at \
a librdkafka consumer in the same process, as many in flight as there are clients. The stores: \
FastAPI with pydantic bodies, tokens counted as the node counts them, and behind it a transaction \
that locks the head row and inserts the message, in the Postgres that the node has its archive in, \
or a script in Valkey with appendfsync always. CPU: of all threads and children of the program \
that is asked, and of the broker or database behind it, for each request."""


class _Seen(NamedTuple):
    """One round of one variant. CPU: of the server, and of the broker or database behind it."""

    answers: Answers
    server_cpu_s: float
    behind_cpu_s: float | None = None


class _Programs(NamedTuple):
    """What is asked, all at once on the machine, one at a time at work."""

    stage: Stage
    ours: Servers
    urls: dict[str, str]
    cpu: dict[str, tuple[CpuWatch, ...]]

    def seen(self, variant: str, clients: int) -> _Seen:
        """One round."""
        seconds = QUICK_SECONDS if self.stage.quick else SECONDS
        if variant == RAW:
            trips = Trips(self.ours.kafka, Topics(TRIPS).log, clients, WARM_UP_S, seconds)
            answers = call("bench.beside.round_trip", trips, Answers, self.stage.folder)
        else:
            load = Load([self.urls[variant]], clients, contexts(CONTEXTS), WARM_UP_S, seconds)
            (answers,) = answers_to(load, self.stage.folder)
        cpu_s = (watch.used(answers.begun, answers.ended) for watch in self.cpu[variant])
        return _Seen(answers, *cpu_s)


def run(stage: Stage) -> Outcome:
    """One client, then more; the programs in turn."""
    seen: dict[tuple[int, str], list[_Seen]] = {
        (clients, variant): [] for clients in CLIENTS for variant in VARIANTS
    }
    with servers(stage.folder) as ours:
        kafka.make_deployment(ours.kafka, PREFIX)
        kafka.make_deployment(ours.kafka, TRIPS)
        with (
            running(ours.new_node(PREFIX)) as node,
            running(BareServer(ours.folder)) as bare,
            stores(ours) as beside,
        ):
            urls = {NODE: node.url, BARE: bare.url, **beside.urls}
            for url in (node.url, *beside.urls.values()):
                http = Http(url)
                for context_id in contexts(CONTEXTS):
                    http.put(context_id)
            assert node.pid is not None, "it runs"
            assert bare.pid is not None, "it runs"
            pids: dict[str, tuple[int, ...]] = {
                NODE: (node.pid, ours.broker_pid),
                RAW: (ours.broker_pid,),
                BARE: (bare.pid,),
                **beside.pids,
            }
            cpu = {name: tuple(CpuWatch(pid) for pid in some) for name, some in pids.items()}
            programs = _Programs(stage, ours, urls, cpu)
            for number in range(stage.rounds):
                for clients in CLIENTS:
                    for variant in turned(VARIANTS, number):
                        one = programs.seen(variant, clients)
                        seen[clients, variant].append(one)
                        stage.say(
                            f"round {number + 1}, {clients} clients: {variant}: p50 "
                            f"{one.answers.p50_ms:.2f} ms, {one.answers.per_second:,.0f}/s"
                        )
            for watch in (one for some in cpu.values() for one in some):
                watch.close()
    return _outcome(seen)


def _outcome(seen: dict[tuple[int, str], list[_Seen]]) -> Outcome:
    tables = [
        Table(
            "1 client" if clients == 1 else f"{clients} clients",
            [
                *(_row(variant, seen[clients, variant]) for variant in VARIANTS),
                *(_ratios(seen, clients, beside) for beside in VARIANTS if beside != NODE),
            ],
        )
        for clients in CLIENTS
    ]
    charts = [
        Chart(
            f"append, {field}",
            "clients",
            field,
            {
                variant: [
                    (clients, _row(variant, seen[clients, variant]).figures[field])
                    for clients in CLIENTS
                ]
                for variant in VARIANTS
            },
        )
        for field in ("p95 ms", "per second")
    ]
    return Outcome(TIMED, tables, _aims(seen), charts)


def _ratios(seen: dict[tuple[int, str], list[_Seen]], clients: int, beside: str) -> Row:
    node, other = ([one.answers for one in seen[clients, name]] for name in (NODE, beside))
    return compared(f"node ÷ {beside}", node, other)


def _aims(seen: dict[tuple[int, str], list[_Seen]]) -> list[Aim]:
    trip = _ratios(seen, 1, RAW).figures["p50 ms"].median
    twenty = _row(NODE, seen[20, NODE]).figures
    store = _ratios(seen, 20, POSTGRES).figures["per second"].median
    return [
        Aim(f"1 client: p50 ÷ {RAW}", 2.5, trip, most=True, goal=1),
        Aim("20 clients: appends a second", 2_000, twenty["per second"].median, goal=2),
        Aim("20 clients: p95 ms", 25, twenty["p95 ms"].median, most=True, goal=2),
        Aim("20 clients: p99 ms", 60, twenty["p99 ms"].median, most=True, goal=2),
        Aim(f"20 clients: appends a second ÷ {POSTGRES}", 1, store, goal=2),
    ]


def _row(variant: str, seen: list[_Seen]) -> Row:
    cpu = {"CPU µs": [(one.server_cpu_s, one.answers.requests) for one in seen]}
    behind = [(s.behind_cpu_s, s.answers.requests) for s in seen if s.behind_cpu_s is not None]
    if behind:
        cpu["behind it, CPU µs"] = behind
    more = {name: figure([1e6 * cpu_s / n for cpu_s, n in some]) for name, some in cpu.items()}
    return answered(variant, [one.answers for one in seen], more)

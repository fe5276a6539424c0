"""Windows and tails read over HTTP, small ones and large ones, beside the stores and a server that
sends as many bytes with nothing behind it."""

from typing import Final, NamedTuple

from bench import kafka
from bench.beside.bare_server import BareServer
from bench.clients import Answers, Load, answers_to
from bench.filled import fill, settings
from bench.http import Http
from bench.messages import contexts
from bench.results import Aim, Chart, Outcome, Row, Table
from bench.rows import answered, compared
from bench.servers import Servers, running, servers
from bench.stage import Stage, turned
from bench.stores import STORES, Stores, stores
from schemas.limits import PAGE_MESSAGES_MAX

PREFIX: Final = "reads"
MESSAGES: Final = (10, 400, 4_000)
CONTEXTS: Final = 8
CLIENTS: Final = 50
BEYOND: Final = 100
"""More messages than the window holds: it is a full one."""
WARM_UP_S: Final = 0.3
SECONDS: Final = 1.0
QUICK_SECONDS: Final = 0.5
MB: Final = 1e6

NODE: Final = "a node"
BARE: Final = "uvicorn, nothing behind it"
VARIANTS: Final = (NODE, BARE, *STORES)
WINDOW: Final = "window"
TAIL: Final = "tail"

TIMED: Final = f"""\
{CLIENTS} clients in a closed loop, each with a connection, kept alive, read {CONTEXTS} contexts \
in turn, whose windows hold so many messages with 1 KB of text (`last_n` with that limit, and a \
budget with room for them). The tail is asked for as many messages, and for {PAGE_MESSAGES_MAX:,} \
at most, which is the longest page that there is. Nobody writes meanwhile; all of it is hot and \
archived. Timed from the writing of a request to the arrival of the last byte of its answer, for \
{SECONDS:g} s, or longer, until each client has had an answer. The \
server with nothing behind it has the whole body ready, as long as the node's."""


class _Read(NamedTuple):
    """What is read: a window or a tail, of so many messages."""

    kind: str
    messages: int

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.kind} of {self.messages:,}"


READS: Final = tuple(
    _Read(kind, min(number, PAGE_MESSAGES_MAX) if kind == TAIL else number)
    for kind in (WINDOW, TAIL)
    for number in MESSAGES
)


class _Asked(NamedTuple):
    """Where and what is asked, of contexts of that size; and how many bytes come."""

    urls: dict[str, str]
    contexts: dict[int, list[str]]
    sizes: dict[_Read, int]

    def load(self, read: _Read, variant: str, seconds: float) -> Load:
        """For the clients."""
        path = f"bytes/{self.sizes[read]}" if variant == BARE else _path(read)
        asked = self.contexts[_held(read)]
        return Load([self.urls[variant]], CLIENTS, asked, WARM_UP_S, seconds, (path,))


def run(stage: Stage) -> Outcome:
    """Every read, and for each the programs in turn."""
    seen: dict[tuple[_Read, str], list[Answers]] = {
        (read, variant): [] for read in READS for variant in VARIANTS
    }
    with servers(stage.folder) as ours:
        kafka.make_deployment(ours.kafka, PREFIX)
        with (
            running(ours.new_node(PREFIX)) as node,
            running(BareServer(ours.folder)) as bare,
            stores(ours) as beside,
        ):
            urls = {NODE: node.url, BARE: bare.url, **beside.urls}
            asked = _Asked(urls, *_filled(stage, ours, node.url, beside))
            seconds = QUICK_SECONDS if stage.quick else SECONDS
            for number in range(stage.rounds):
                for read in READS:
                    for variant in turned(VARIANTS, number):
                        load = asked.load(read, variant, seconds)
                        (answers,) = answers_to(load, stage.folder)
                        seen[read, variant].append(answers)
                        stage.say(
                            f"round {number + 1}, {read.title}: {variant}: p95 "
                            f"{answers.p95_ms:.2f} ms, {answers.per_second:,.0f}/s"
                        )
    return _outcome(seen, asked.sizes)


def _path(read: _Read) -> str:
    return "context" if read.kind == WINDOW else f"tail?limit={read.messages}"


def _held(read: _Read) -> int:
    """How many messages the windows of the contexts have that are read."""
    return next(number for number in MESSAGES if number >= read.messages)


def _filled(
    stage: Stage, ours: Servers, url: str, beside: Stores
) -> tuple[dict[int, list[str]], dict[_Read, int]]:
    """The contexts of each size, in the node and in the stores, and what is sent of them."""
    of = {number: [f"{name}-{number}" for name in contexts(CONTEXTS)] for number in MESSAGES}
    for number, ids in of.items():
        fill(ours, url, PREFIX, ids, number + BEYOND, settings(number))
        beside.fill(ids, number + BEYOND, settings(number))
    stage.say("all contexts are filled")
    http = Http(url)
    return of, {read: len(http.read(of[_held(read)][0], _path(read))) for read in READS}


def _outcome(seen: dict[tuple[_Read, str], list[Answers]], sizes: dict[_Read, int]) -> Outcome:
    tables = [
        Table(f"{read.title} ({sizes[read] / MB:.2f} MB)", _rows(seen, read)) for read in READS
    ]
    charts = [
        Chart(
            f"{kind} read, p95 ms",
            "messages",
            "p95 ms",
            {
                variant: [
                    (read.messages, answered(variant, seen[read, variant]).figures["p95 ms"])
                    for read in READS
                    if read.kind == kind
                ]
                for variant in VARIANTS
            },
        )
        for kind in (WINDOW, TAIL)
    ]
    goal = _Read(WINDOW, 400)
    to_bare = compared("", seen[goal, NODE], seen[goal, BARE]).figures["p95 ms"].median
    aim = Aim(f"{goal.title}: p95 ÷ {BARE}", 2, to_bare, most=True, goal=3)
    return Outcome(TIMED, tables, [aim], charts)


def _rows(seen: dict[tuple[_Read, str], list[Answers]], read: _Read) -> list[Row]:
    return [
        *(answered(variant, seen[read, variant]) for variant in VARIANTS),
        *(
            compared(f"node ÷ {beside}", seen[read, NODE], seen[read, beside])
            for beside in VARIANTS
            if beside != NODE
        ),
    ]

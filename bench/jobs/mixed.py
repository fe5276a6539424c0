"""A busy chat: half appends, half reads of the window, beside the stores."""

from typing import Final

from bench import kafka
from bench.clients import APPEND, Answers, Load, answers_to
from bench.filled import fill, settings
from bench.messages import contexts
from bench.results import Aim, Outcome, Table
from bench.rows import answered, compared
from bench.servers import running, servers
from bench.stage import Stage, turned
from bench.stores import STORES, stores

PREFIX: Final = "mixed"
MESSAGES: Final = 400
CONTEXTS: Final = 50
CLIENTS: Final = 50
WARM_UP_S: Final = 0.5
SECONDS: Final = 2.5
QUICK_SECONDS: Final = 0.5

NODE: Final = "a node, archive on"
VARIANTS: Final = (NODE, *STORES)
KINDS: Final = {"append": APPEND, "window": "context"}

TIMED: Final = f"""\
{CLIENTS} clients in a closed loop, each with a connection, kept alive, and with a conversation of \
its own, append a message with 1 KB of text and read the window in turn; half of them begin with \
the one, half with the other. Windows are full from the start: `last_n` {MESSAGES}, and a budget \
with room for as many. Timed from the writing of a request to the arrival of the last byte of its \
answer."""


def run(stage: Stage) -> Outcome:
    """The programs in turn."""
    seen: dict[str, list[list[Answers]]] = {variant: [] for variant in VARIANTS}
    with servers(stage.folder) as ours:
        kafka.make_deployment(ours.kafka, PREFIX)
        with running(ours.new_node(PREFIX)) as node, stores(ours) as beside:
            ids = contexts(CONTEXTS)
            fill(ours, node.url, PREFIX, ids, MESSAGES, settings(MESSAGES))
            beside.fill(ids, MESSAGES, settings(MESSAGES))
            urls = {NODE: node.url, **beside.urls}
            seconds = QUICK_SECONDS if stage.quick else SECONDS
            for number in range(stage.rounds):
                for variant in turned(VARIANTS, number):
                    kinds = tuple(KINDS.values())
                    load = Load([urls[variant]], CLIENTS, ids, WARM_UP_S, seconds, kinds)
                    seen[variant].append(answers_to(load, stage.folder))
                    said = (
                        f"{kind} p95 {one.p95_ms:.1f} ms"
                        for kind, one in zip(KINDS, seen[variant][-1], strict=True)
                    )
                    stage.say(f"round {number + 1}: {variant}: {', '.join(said)}")
    return _outcome(seen)


def _outcome(seen: dict[str, list[list[Answers]]]) -> Outcome:
    tables = []
    aims = []
    for at, (kind, most_ms) in enumerate(zip(KINDS, (60, 30), strict=True)):
        of = {variant: [answers[at] for answers in all_] for variant, all_ in seen.items()}
        rows = [answered(variant, answers) for variant, answers in of.items()]
        rows += [compared(f"node ÷ {beside}", of[NODE], of[beside]) for beside in STORES]
        tables.append(Table(f"{kind}s", rows))
        got = rows[0].figures["p95 ms"].median
        aims.append(Aim(f"mixed: {kind} p95 ms", most_ms, got, most=True, goal=3))
    return Outcome(TIMED, tables, aims)

"""Ten times what a node can do: what is taken stays quick, the rest is refused, memory is flat."""

import threading
from typing import Final, NamedTuple

import psutil

from bench import kafka
from bench.child import call
from bench.clients import Answers, Load, answers_to
from bench.crowd import Crowd, Served
from bench.http import Http
from bench.messages import contexts
from bench.results import Aim, Figure, Outcome, Row, Table, figure
from bench.servers import QuietNode, running, servers
from bench.stage import Stage

PREFIX: Final = "overload"
CONTEXTS: Final = 200
CLIENTS: Final = 50
CROWD: Final = 2_000
TIMES: Final = 10
WARM_UP_S: Final = 2.0
CLOSED_S: Final = 5.0
CROWD_S: Final = 20.0
SAMPLE_S: Final = 0.25
MB: Final = 1_000_000
P99_MS: Final = 2_000.0
GROWTH: Final = 1.5
RECOVERED: Final = 0.8

TIMED: Final = f"""\
What a node can do: {CLIENTS} clients in a closed loop, 1 KB appends, archive on. Then a crowd of \
{CROWD:,} connections is to send {TIMES} times as many a second, for {CROWD_S:.0f} s, whatever \
the answers are; a connection whose answer is late skips what was due meanwhile, so that what was \
really sent stands beside. Then the closed loop again. Latency: from the writing of a request to \
the end of its answer, at the client. Memory: the largest resident set of the node, looked at four \
times a second. All of it is on the same cores: what the crowd uses, the node does not have."""


class _Memory(threading.Thread):
    """The largest resident set of a process in bytes, until `most()` is asked for."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._enough = threading.Event()
        self._most = 0
        self.start()

    def run(self) -> None:
        while True:
            self._most = max(self._most, self._process.memory_info().rss)
            if self._enough.wait(SAMPLE_S):
                return

    def most(self) -> int:
        self._enough.set()
        self.join()
        return self._most


class _Seen(NamedTuple):
    """One round; memory in bytes."""

    before: Answers
    during: Served
    after: Answers
    rss_before: int
    rss_during: int


def run(stage: Stage) -> Outcome:
    """One node for all rounds."""
    seen = []
    with servers(stage.folder) as ours:
        kafka.make_deployment(ours.kafka, PREFIX)
        with running(ours.new_node(PREFIX)) as node:
            http = Http(node.url)
            for context_id in contexts(CONTEXTS):
                http.put(context_id)
            for number in range(stage.rounds):
                seen.append(_round(stage, node))
                stage.say(
                    f"round {number + 1}: {seen[-1].before.per_second:,.0f}/s alone, "
                    f"{seen[-1].during.taken / _seconds(stage):,.0f}/s of "
                    f"{seen[-1].during.sent / _seconds(stage):,.0f}/s in the crowd, "
                    f"p99 {seen[-1].during.p99_ms:,.0f} ms"
                )
    return _outcome(stage, seen)


def _round(stage: Stage, node: QuietNode) -> _Seen:
    assert node.pid is not None, "it runs"
    memory = _Memory(node.pid)
    before = _closed(stage, node)
    rss_before = memory.most()
    memory = _Memory(node.pid)
    crowd = Crowd(node.url, CROWD, contexts(CONTEXTS), TIMES * before.per_second, _seconds(stage))
    during = call("bench.crowd", crowd, Served, stage.folder)
    rss_during = memory.most()
    return _Seen(before, during, _closed(stage, node), rss_before, rss_during)


def _closed(stage: Stage, node: QuietNode) -> Answers:
    load = Load([node.url], CLIENTS, contexts(CONTEXTS), WARM_UP_S, CLOSED_S)
    (answers,) = answers_to(load, stage.folder)
    return answers


def _seconds(stage: Stage) -> float:
    return CROWD_S / 10 if stage.quick else CROWD_S


def _outcome(stage: Stage, seen: list[_Seen]) -> Outcome:
    seconds = _seconds(stage)
    rows = [
        Row("alone, before", _answers([one.before for one in seen])),
        Row(
            f"{TIMES} × as many",
            {
                "sent/s": figure([one.during.sent / seconds for one in seen]),
                "taken/s": figure([one.during.taken / seconds for one in seen]),
                "p50 ms": figure([one.during.p50_ms for one in seen]),
                "p95 ms": figure([one.during.p95_ms for one in seen]),
                "p99 ms": figure([one.during.p99_ms for one in seen]),
                "refusal p95 ms": figure([one.during.refused_p95_ms for one in seen]),
                "other answers": figure([one.during.otherwise for one in seen]),
                "crowd's CPU %": figure([one.during.cpu_percent for one in seen]),
            },
        ),
        Row("alone, after", _answers([one.after for one in seen])),
    ]
    memory = [
        Row("alone, before", {"RSS MB": figure([one.rss_before / MB for one in seen])}),
        Row(f"{TIMES} × as many", {"RSS MB": figure([one.rss_during / MB for one in seen])}),
    ]
    others = sum(one.during.otherwise for one in seen)
    growth = max(one.rss_during / one.rss_before for one in seen)
    recovered = min(one.after.per_second / one.before.per_second for one in seen)
    aims = [
        Aim("p99 of what is taken, ms", P99_MS, rows[1].figures["p99 ms"].median, most=True),
        Aim("answers that are neither 201 nor a refusal", 0, others, most=True),
        Aim("RSS during ÷ before", GROWTH, growth, most=True),
        Aim("per second, after ÷ before", RECOVERED, recovered),
    ]
    return Outcome(TIMED, [Table("Appends", rows), Table("Memory of the node", memory)], aims)


def _answers(answers: list[Answers]) -> dict[str, Figure]:
    return {
        "taken/s": figure([one.per_second for one in answers]),
        "p50 ms": figure([one.p50_ms for one in answers]),
        "p95 ms": figure([one.p95_ms for one in answers]),
        "p99 ms": figure([one.p99_ms for one in answers]),
    }

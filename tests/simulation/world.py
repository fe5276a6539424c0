"""A world: three nodes, a broker, Postgres and their faults, in an order that a seed decides.

The nodes run the code that runs in production (see `seams`). One step after the other, the world
lets somebody go on: a loop, a thread, the network, a user, or a fault. Wherever a node meets the
world outside (an *effect*), it may be killed or held up, and others may go on meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Final, NamedTuple, TypeVar

from pydantic import SecretStr

from streams.metrics import Metrics
from streams.settings import StreamSettings
from tests.simulation.broker import Broker
from tests.simulation.checks import Checks
from tests.simulation.clock import Clock
from tests.simulation.disk import Disk
from tests.simulation.faults import (
    ALWAYS,
    FAULTS,
    RATES,
    SORE_RATE,
    SORE_SPOTS,
    SORE_TIMES,
    TO_PROCESSES,
    a_node_starts,
)
from tests.simulation.faust import Group
from tests.simulation.loop import Loop
from tests.simulation.postgres import Postgres
from tests.simulation.process import Killed, Process
from tests.simulation.turns import TURNS, Turn, an_archive
from tests.simulation.users import Strangers, User

T = TypeVar("T")

PARTITIONS: Final = 2
NAMES: Final = ("a", "b", "c")
CONTEXTS: Final = ("ada", "bob", "dan")
STRANGE_CONTEXTS: Final = ("eve", "flo", "gus", "hal", "ida", "joe")
"""About as many in one partition as in the other."""
DEPTH_MAX: Final = 6
"""How many may be held up in the middle of an effect, one while the other is."""
GOES_ON: Final = 0.1
"""How often others go on at an effect for a few steps, without any fault."""
SHORT_STEPS_MAX: Final = 10
LONG_STEPS_MAX: Final = 200
LAST_BLOW: Final = 0.3
TICKETS: Final = 1000
METRICS: Final = Metrics()
"""One for all worlds: nobody reads them, and they are dear to make."""


class Effect(NamedTuple):
    """What happened, for whoever looks at a seed that failed. Faults of the world have no
    process."""

    now: float
    process: str
    what: str


class World:
    """`chaos`: whether faults happen. `happened`: every effect so far. `busy`: objects that a
    thread is in the middle of, and that take one call at a time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.partitions = PARTITIONS
        self.chaos = True
        self.happened: list[Effect] = []
        self.busy: list[object] = []
        self.clock = Clock()
        self.checks = Checks(self)
        self.broker = Broker(self.clock, self.checks.written)
        self.clock.slept = lambda: self.broker.mark(self.random)
        self.postgres = Postgres(self.clock)
        self.group = Group(self)
        self.metrics = METRICS
        self._settings = _settings(self.random.choice((0, 2, 6)), self.random.choice((1, 3, 100)))
        self.topics = self._settings.topics
        self.users = [User(self, name, self.random.randint(3, 10)) for name in CONTEXTS]
        self.strangers = Strangers(self, [*CONTEXTS, *STRANGE_CONTEXTS])
        self.processes: dict[str, Process] = {}
        self._started: list[Process] = []
        self._disks = {name: Disk() for name in NAMES}
        self._inside: list[Process] = []
        self._steps_left = 0
        self._rates = {name: rate * self._more_or_less() for name, rate in RATES.items()}
        self._sore = self.random.choice(SORE_SPOTS), self.random.choice(TO_PROCESSES)
        self._sore_times = SORE_TIMES
        faults = {f: w * (1 if f in ALWAYS else self._more_or_less()) for f, w in FAULTS.items()}
        self._tickets = _tickets({**TURNS, **faults})

    def _more_or_less(self) -> float:
        return self.random.choice((0, 0.5, 1, 3))

    # -- steps ----------------------------------------------------------------------------------

    def go_on(self, steps: int, enough: Callable[[], bool] = lambda: False) -> None:
        """Let this many steps be taken, unless something is wrong, or it is enough before."""
        self._steps_left = steps
        while not self._over and not enough():
            self._step()

    def calm_down(self) -> None:
        """No more faults: what was held up goes on, what is away comes back."""
        self.chaos = False
        self.broker.away_until = self.postgres.away_until = 0.0
        self.strangers.end_all()
        for process in self.processes.values():
            process.paused = False
        self._tickets = _tickets({**TURNS, an_archive: 25, a_node_starts: 2})

    def end(self) -> None:
        """Nothing goes on after this."""
        for process in self._started:
            process.loop.close()

    @property
    def _over(self) -> bool:
        return self._steps_left <= 0 or bool(self.checks.wrong)

    def _step(self) -> None:
        self._steps_left -= 1
        turn = self.pick(self._tickets)
        assert turn is not None
        if not turn(self):
            for turn in TURNS:
                if turn(self):
                    break
        elif turn in FAULTS:
            self._note("", turn.__name__)
        if self.chaos and self._steps_left == 0:
            self._last_blow()

    def _last_blow(self) -> None:
        """What is held up when the chaos ends may have no end."""
        for process in self.processes.values():
            if self.random.random() < LAST_BLOW:
                process.alive = False

    def effect(self, process: Process, what: str) -> None:
        """A node meets the world: it may be the last thing that it does, or take a while."""
        if not process.alive:
            raise Killed
        name = f"{process.name}{process.number}"
        self._note(name, what)
        fault = self._fault_at(what)
        if fault is not None:
            self._note(name, fault)
        if fault == "kill":
            process.alive = False
        elif fault == "pause":
            process.paused = True
            self._meanwhile(LONG_STEPS_MAX, lambda: not process.paused)
            process.paused = False
        elif fault == "stall":
            self._meanwhile(LONG_STEPS_MAX)
        elif self.random.random() < GOES_ON:
            self._meanwhile(SHORT_STEPS_MAX)
        if not process.alive:
            raise Killed

    def _note(self, process: str, what: str) -> None:
        self.happened.append(Effect(self.clock.now, process, what))

    def _fault_at(self, effect: str) -> str | None:
        """What happens to the process at this effect, if anything."""
        if not self.chaos:
            return None
        luck = self.random.random()
        spot, fault = self._sore
        if self._sore_times and luck < SORE_RATE and effect.startswith(spot):
            self._sore_times -= 1
            return fault
        for fault in TO_PROCESSES:
            luck -= self._rates[fault]
            if luck < 0:
                return fault
        return None

    def _meanwhile(self, steps_max: int, enough: Callable[[], bool] = lambda: False) -> None:
        """Others go on."""
        if len(self._inside) <= DEPTH_MAX:
            for _ in range(self.random.randint(1, steps_max)):
                if self._over or enough():
                    return
                self._step()

    def happens(self, what: str) -> bool:
        """Whether something goes wrong now."""
        return self.chaos and self.random.random() < self._rates[what]

    # -- who is there ---------------------------------------------------------------------------

    def settings_of(self, name: str) -> StreamSettings:
        return self._settings.model_copy(update={"node_id": name, "url": f"http://{name}"})

    def start_one(self) -> bool:
        """A node that is not there starts, on the disk that it had; whether there was one."""
        down = [n for n in NAMES if n not in self.processes or not self.processes[n].alive]
        if (name := self.pick(down)) is not None:
            process = Process(self, name, self._disks[name], len(self._started))
            self._started.append(process)
            self.processes[name] = process
        return name is not None

    def free(self) -> list[Process]:
        """Processes that can run on."""
        return [p for p in self.processes.values() if p.alive and not p.paused]

    def pick(self, choices: Sequence[T]) -> T | None:
        """One of them, by the seed; None where there is none."""
        return choices[int(self.random.random() * len(choices))] if choices else None

    def owner_of(self, partition: int) -> Process | None:
        """Whom the group has given a partition, and who has heard of it."""
        process = self.processes.get(self.group.assignment.get(partition, ""))
        if process is None or not process.alive or partition not in process.app.owned:
            return None
        return process

    def node_for(self, partition: int) -> Process | None:
        """Where a user asks: nearly always at the owner."""
        owner = self.owner_of(partition)
        if owner is None or self.random.random() < 0.2:
            return self.pick([p for p in self.processes.values() if p.alive])
        return owner

    @property
    def current(self) -> Process:
        """The process whose code is running."""
        return self._inside[-1]

    def inside(self, process: Process, loop: Loop | None) -> "_Inside":
        """Run code of a process, on its loop or in a thread beside it."""
        return _Inside(self._inside, process, loop)


class _Inside:
    """Not a generator: it is entered at every step."""

    def __init__(self, stack: list[Process], process: Process, loop: Loop | None) -> None:
        self._stack = stack
        self._process = process
        self._loop = loop
        self._before = asyncio._get_running_loop()

    def __enter__(self) -> None:
        self._stack.append(self._process)
        asyncio._set_running_loop(self._loop)

    def __exit__(self, *_exc: object) -> None:
        self._stack.pop()
        asyncio._set_running_loop(self._before)


@cache
def _settings(tail_keep: int, batch_size: int) -> StreamSettings:
    return StreamSettings(
        partitions=PARTITIONS,
        postgres=SecretStr("postgresql://simulated"),
        tail_keep=tail_keep,
        archive_batch_size=batch_size,
        archive_flush_interval_ms=200,
        session_timeout_s=1,
        write_timeout_s=3,
    )


def _tickets(weights: Mapping[Turn, float]) -> list[Turn]:
    """A list that holds each turn as often as its weight says."""
    whole = sum(weights.values())
    return [turn for turn, w in weights.items() for _ in range(round(TICKETS * w / whole))]

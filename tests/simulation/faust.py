"""Faust's part: who owns what, and records that come out of order, twice, or not at all."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from streams.faust_seams import Arrive
from tests.simulation.disk import OFFSET_KEY, Db

SESSION_OVER: Final = 1.01
"""In sessions: when a member that has fallen silent is expelled."""

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


class Group:
    """The consumer group as the broker has it. `offsets`: what was committed to it.

    A generation is stable when each of its members has given up what it had; those that don't
    answer are expelled then.
    """

    def __init__(self, world: "World") -> None:
        self.generation = 0
        self.members: dict[str, App] = {}
        self.offsets: dict[int, int] = {}
        self.assignment: dict[int, str] = {}
        self._world = world
        self._arrived: set[str] = set()
        self._stable = True

    def join(self, app: "App") -> None:
        """A member with the name of a dead one takes its place, with what it had."""
        back = app.name in self.members
        app.fell_silent_at = math.inf
        self.members[app.name] = app
        if self._stable and not back:
            self.rebalance()
        else:
            self._tell()

    def leave(self, app: "App") -> None:
        if self.members.get(app.name) is app:
            del self.members[app.name]
            self.rebalance()

    def rebalance(self) -> None:
        """Begin another generation."""
        self.generation += 1
        self._stable = False
        self._arrived = set()
        self._tell()

    def arrive(self, app: "App", generation: int) -> None:
        """A member has given up what it had."""
        if generation == self.generation and self.members.get(app.name) is app:
            self._arrived.add(app.name)
            if self._arrived >= self.members.keys():
                self._assign()

    def expel_the_silent(self) -> bool:
        """The session of those that don't answer is over; whether there were any."""
        silent = [
            app for app in self.members.values() if not app.process.alive or app.process.paused
        ]
        for app in silent:
            app.fell_silent_at = self._world.clock.now
            del self.members[app.name]
            app.heard_of_expulsion = self._world.random.random() < 0.5
        if silent:
            session_s = silent[0].process.streams.settings.session_timeout_s
            self._world.clock.now += SESSION_OVER * session_s
        if self._stable and silent:
            self.rebalance()
        elif not self._stable and self.members and self._arrived >= self.members.keys():
            self._assign()
        return bool(silent)

    def stable_at(self, generation: int) -> bool:
        return self._stable and self.generation == generation

    def partitions_of(self, app: "App") -> set[int]:
        if self.members.get(app.name) is not app:
            return set()
        return {p for p, name in self.assignment.items() if name == app.name}

    def commit(self, app: "App", offsets: Mapping[int, int]) -> None:
        """Refused where the member is not one of this generation."""
        if self.members.get(app.name) is app and app.generation == self.generation:
            self._world.checks.group_offsets(offsets)
            self.offsets.update(offsets)

    def _assign(self) -> None:
        names = list(self.members)
        sticky = self._world.random.random() < 0.5
        for partition in range(self._world.partitions):
            if not (sticky and self.assignment.get(partition) in self.members):
                self.assignment[partition] = self._world.random.choice(names)
        self._stable = True
        self._tell()

    def _tell(self) -> None:
        for app in self.members.values():
            app.call()


class Table:
    """Stands for `JournaledTable`."""

    on_owned: Callable[[set[int]], Awaitable[None]] | None = None
    offset_key = OFFSET_KEY

    def __init__(self, app: "App", name: str, **_more: Any) -> None:
        self._app = app
        self.changelog = app.process.world.topics.changelog(name)
        self._dbs: dict[int, Db] = {}

    def db(self, partition: int) -> Db:
        if partition not in self._dbs:
            self._dbs[partition] = Db(self._app.process, (self.changelog, partition))
        return self._dbs[partition]

    def owned(self) -> set[int]:
        return self._app.owned

    def owners(self) -> dict[str, list[int]]:
        urls: dict[str, list[int]] = {}
        for partition, name in self._app.group.assignment.items():
            urls.setdefault(f"http://{name}", []).append(partition)
        return urls

    async def rebalanced(self, owned: set[int]) -> None:
        for partition in self._dbs.keys() - owned:
            self._dbs.pop(partition).close()
        if self.on_owned is not None:
            await self.on_owned(owned)


class App:
    """Stands for the Faust app of one process."""

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.name = process.name
        self.group = process.world.group
        self.generation = 0
        self.owned: set[int] = set()
        self.heard_of_expulsion = False
        self.fell_silent_at = math.inf
        self.leaves = False
        self.member_id = ""
        self.crashed: asyncio.Future[Exception] = process.loop.create_future()
        self.tables = SimpleNamespace(add=self._add)
        self.on_partitions_revoked = SimpleNamespace(connect=self._connect)
        self._tables: list[Table] = []
        self._on_revoked: Callable[[], Awaitable[None]]
        self._run_agent: Callable[[Any], Coroutine[Any, Any, None]]
        self._called = asyncio.Event()
        self._queue: asyncio.Queue[tuple[int, list[Any]]] = asyncio.Queue()
        self.taken_whole: dict[str, Arrive]
        self.fed: dict[int, int] = {}
        self._running: list[asyncio.Task[None]] = []

    # -- what Streams asks for ------------------------------------------------------------------

    def _add(self, table: Table) -> None:
        self._tables.append(table)

    def _connect(self, on_revoked: Callable[[], Awaitable[None]], **_more: Any) -> None:
        self._on_revoked = on_revoked

    def topic(self, *_args: Any, **_more: Any) -> None:
        """There is only the log."""

    def agent(self, *_args: Any, **_more: Any) -> Callable[[Any], None]:
        def take(run: Any) -> None:
            self._run_agent = run

        return take

    def finalize(self) -> None:
        """There is nothing to prepare."""

    async def start(self) -> None:
        self._running = [
            asyncio.create_task(self._run_agent(None)),
            asyncio.create_task(self._hand_over()),
            asyncio.create_task(self._attend()),
        ]
        self.member_id = f"{self.name} {self.process.number}"
        self.group.join(self)
        self.call()

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self.leaves:
            self.group.leave(self)

    async def commit(self, offsets: Mapping[Any, int]) -> None:
        self.process.effect("commits offsets")
        self.group.commit(self, {tp.partition: offset for tp, offset in offsets.items()})

    # -- membership -----------------------------------------------------------------------------

    def call(self) -> None:
        """The group has news; it is heard when the process gets to it."""
        self.process.loop.call_soon(self._called.set)

    @property
    def acknowledged_at(self) -> float:
        """A member that is awake is acknowledged all the time, while there is a broker."""
        return min(self.process.world.clock.now, self.fell_silent_at)

    @property
    def expelled(self) -> bool:
        return self.group.members.get(self.name) is not self

    async def _hand_over(self) -> None:
        (arrive,) = self.taken_whole.values()
        while True:
            await arrive(*await self._queue.get())

    async def _attend(self) -> None:
        try:
            while True:
                await self._news()
                while self.expelled or self.generation != self.group.generation:
                    if self.expelled:
                        await self._come_back()
                    else:
                        await self._rejoin(self.group.generation)
        except Exception as exc:
            self.crashed.set_result(exc)

    async def _news(self) -> None:
        await self._called.wait()
        self._called.clear()

    async def _rejoin(self, generation: int) -> None:
        if not self.group.stable_at(generation):
            await self._revoked()
            self.group.arrive(self, generation)
        while (
            not self.expelled
            and self.group.generation == generation
            and not self.group.stable_at(generation)
        ):
            await self._news()
        if self.group.stable_at(generation) and not self.expelled:
            self.generation = generation
            await self._assigned()

    async def _assigned(self) -> None:
        self.owned = self.group.partitions_of(self)
        if self.process.world.random.random() < 0.5:
            # Faust may or may not have forgotten what it had fetched.
            while not self._queue.empty():
                self._queue.get_nowait()
        for table in self._tables:
            await table.rebalanced(self.owned)
        self.process.opened()
        self.fed = {p: self._fetches_from(p) for p in self.owned}

    async def _revoked(self) -> None:
        self.fed = {}
        await self._on_revoked()

    async def _come_back(self) -> None:
        """Another process may have our place, then this one ends; else it joins anew."""
        if self.heard_of_expulsion:
            self.member_id = ""
        await self._revoked()
        self.group.join(self)

    def _fetches_from(self, partition: int) -> int:
        world = self.process.world
        if world.happens("misdelivery"):
            return world.random.randint(0, world.broker.log(world.topics.log, partition).end)
        return self.group.offsets.get(partition, 0)

    # -- deliveries -----------------------------------------------------------------------------

    def deliver(self) -> bool:
        """Hand out a few records of a partition, or fewer, or more than once, or out of order.

        An expelled member goes on fetching until it hears of it.
        """
        world = self.process.world
        random = world.random
        partition = random.choice(list(self.fed))
        log = world.broker.log(world.topics.log, partition)
        found, reached = log.read(self.fed[partition], random.randint(1, 5))
        self.fed[partition] = reached
        if found and world.happens("misdelivery"):
            match random.randrange(4):
                case 0:
                    found = found[1:]
                case 1:
                    found = found[:-1]
                case 2:
                    random.shuffle(found)
                case 3:
                    found = found + log.read(random.randrange(reached), 3)[0]
        records = [
            SimpleNamespace(
                offset=offset, timestamp=entry.timestamp_ms, key=entry.key, value=entry.value
            )
            for offset, entry in found
        ]
        self.process.loop.call_soon(self._queue.put_nowait, (partition, records))
        return bool(found)

"""One process of a node: the real streams on a loop of their own, until it is killed."""

from typing import TYPE_CHECKING, Any

from streams.app import Streams
from streams.tables.lane import Lane
from tests.simulation.clients import Producer
from tests.simulation.disk import At, Disk
from tests.simulation.faust import App
from tests.simulation.loop import Loop
from tests.simulation.threads import Thread

if TYPE_CHECKING:
    from tests.simulation.world import World


class Killed(BaseException):
    """The process is gone. Not an `Exception`, so that nothing in it goes on after that."""


class Process:
    """`number`: no other process of this world has it. `paused`: stopped by SIGSTOP. `turning`: its
    loop is in the middle of a turn. `rounds`: how often its thread may still go round; it has
    nothing to do before `rests_until`."""

    def __init__(self, world: "World", name: str, disk: Disk, number: int) -> None:
        self.world = world
        self.name = name
        self.number = number
        self.disk = disk
        self.alive = True
        self.paused = False
        self.turning = False
        self.rounds = 0
        self.rests_until = 0.0
        self.threads: list[Thread] = []
        self.producers: list[Producer] = []
        self.loop = Loop(world.clock, self._failed)
        self.app: App
        with world.inside(self, self.loop):
            self.streams = Streams(world.settings_of(name), on_expelled=self.exit)
        self.loop.create_task(self._run())

    # -- its life -------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self.streams.start()
        self.world.checks.may_end_with(await self.streams.ended)
        self.exit()

    def terminate(self) -> None:
        """SIGTERM."""
        self.loop.create_task(self._stop())

    async def _stop(self) -> None:
        await self.streams.stop()
        self.exit()

    def exit(self) -> None:
        """End now."""
        self.alive = False
        raise Killed

    def effect(self, what: str) -> None:
        """Something of this process meets the world outside."""
        self.world.effect(self, what)

    def rest(self, seconds: float) -> None:
        """A thread waits; it may as well have its turn later."""
        self.rests_until = self.world.clock.now + seconds

    def turn(self) -> None:
        """Let the loop run what is ready."""
        self.turning = True
        try:
            with self.world.inside(self, self.loop):
                self.loop.turn(lambda: self.alive)
        finally:
            self.turning = False

    # -- what is looked at ----------------------------------------------------------------------

    def lane(self, partition: int) -> Lane | None:
        """The lane of a partition, where it is here."""
        return self.streams._journal.lanes.get(partition)

    def opened(self) -> None:
        """Tables were restored: they have to be what their changelogs say."""
        for at in self.disk.tables:
            if at[1] in self.app.owned:
                self.world.checks.table(self, at)

    def stored(self, at: At) -> None:
        """A batch went to RocksDB."""
        self.world.checks.not_ahead(self, at)

    def _failed(self, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        if self.alive and isinstance(exc, Exception):
            self.world.checks.may_end_with(exc)

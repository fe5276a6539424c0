"""Whose turn it may be. Each function lets somebody go on a little, and says whether anybody had
anything to do; the weights say how often it is tried."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from streams.tables.source import Source
from tests.simulation.process import Killed, Process

if TYPE_CHECKING:
    from tests.simulation.world import World

Turn = Callable[["World"], bool]


def a_loop(world: "World") -> bool:
    process = world.pick([p for p in world.free() if not p.turning and p.loop.has_work()])
    if process is None:
        return False
    process.turn()
    return True


def a_job(world: "World") -> bool:
    """A thread does what it was given, from its begin to its end."""
    found = [
        (process, job)
        for process in world.free()
        for job in process.loop.jobs
        if job.owner not in world.busy
    ]
    if not found:
        return False
    process, job = found[int(world.random.random() * len(found))]
    process.loop.jobs.remove(job)
    alone = job.owner if isinstance(job.owner, Source) else None
    _work(world, process, lambda: process.loop.do(job), alone)
    return True


def the_network(world: "World") -> bool:
    """What was produced is sent, in the background."""
    producer = world.pick([o for process in world.free() for o in process.producers if o.waiting])
    if producer is None:
        return False
    _work(world, producer.process, producer.poll)
    return True


def an_archive(world: "World") -> bool:
    """An archive's thread goes round once."""
    now = world.clock.now
    awake = [process for process in world.free() if process.rests_until <= now]
    thread = world.pick([t for p in awake for t in p.threads if t.owner not in world.busy])
    if thread is None:
        return False
    _work(world, thread.process, thread.go_round, thread.owner)
    return True


def _work(
    world: "World", process: Process, work: Callable[[], object], alone: object = None
) -> None:
    """Run what a thread of a process does. `alone`: an object that takes one call at a time."""
    if alone is not None:
        world.busy.append(alone)
    try:
        with world.inside(process, None):
            work()
    except Killed:
        pass
    finally:
        if alone is not None:
            world.busy.remove(alone)


def a_marker(world: "World") -> bool:
    return world.broker.mark(world.random)


def a_delivery(world: "World") -> bool:
    process = world.pick([p for p in world.free() if p.app.fed])
    return process is not None and process.app.deliver()


def a_user(world: "World") -> bool:
    user = world.pick(world.users)
    return user is not None and user.act()


def a_look(world: "World") -> bool:
    user = world.pick(world.users)
    return user is not None and user.look()


def time_passes(world: "World") -> bool:
    """Until something is due."""
    due = min((process.loop.wakes_at() for process in world.free()), default=0.0)
    if not world.clock.now < due < float("inf"):
        return False
    world.clock.now = due
    return True


def a_heartbeat(world: "World") -> bool:
    """An expelled member hears of it; until then it goes on."""
    process = world.pick([p for p in world.free() if p.app.expelled])
    if process is None:
        return False
    process.app.call()
    return True


TURNS: Mapping[Turn, float] = {
    a_loop: 40,
    a_job: 25,
    the_network: 10,
    a_marker: 8,
    a_delivery: 10,
    a_user: 10,
    a_look: 4,
    a_heartbeat: 0.5,
    time_passes: 2,
    an_archive: 8,
}
"""Where one has nothing to do, the first that has is taken: time passes when all others wait."""

"""One run of a world: chaos, then calm, then a look at what is there."""

import os
from typing import Final

from tests.simulation.seams import simulated
from tests.simulation.world import NAMES, World

STEPS: Final = 500
STEPS_TO_REST: Final = 10_000
LOOK_EVERY: Final = 20
EFFECTS_SHOWN: Final = 60
SEED: Final = "REWINDOW_SIM_SEED"


class Failed(AssertionError):
    """A world in which something did not hold."""


def seeds(count: int) -> range:
    """The one that is asked for, or so many that nobody has seen."""
    if (asked := os.environ.get(SEED)) is not None:
        return range(int(asked), int(asked) + 1)
    first = int.from_bytes(os.urandom(4), "big")
    return range(first, first + count)


def check(seed: int) -> None:
    """Raises `Failed`, which says what happened last, what is wrong, and how to see it again."""
    world = World(seed)
    if wrong := run(world):
        effects = (f"{now:9.3f} s  {name:4}{what}" for now, name, what in world.happened)
        last = list(effects)[-EFFECTS_SHOWN:]
        raise Failed("\n".join([*last, *wrong, f"{SEED}={seed} shows it again"]))


def run(world: World) -> list[str]:
    """What was wrong."""
    with simulated(world):
        for _ in NAMES:
            world.start_one()
        world.go_on(STEPS)
        if not world.checks.wrong:
            come_to_rest(world)
        if not world.checks.wrong:
            world.checks.at_rest()
        world.end()
    return world.checks.wrong


def come_to_rest(world: World) -> None:
    """Without faults, all that was said has to be folded, durable, answered and archived soon."""
    world.calm_down()
    for user in world.users:
        user.say_no_more()
    for _ in range(STEPS_TO_REST // LOOK_EVERY):
        world.go_on(LOOK_EVERY)
        if world.checks.wrong or not _left(world):
            return
    world.checks.wrong.append(f"it does not come to rest: {', '.join(_left(world))}")


def _left(world: World) -> list[str]:
    """What is still to be done."""
    left = [f"{user.context_id} waits" for user in world.users if not user.done]
    if not world.broker.at_rest():
        left.append("a transaction is under way")
    for partition in range(world.partitions):
        left += _left_in(world, partition)
    return left


def _left_in(world: World, partition: int) -> list[str]:
    owner = world.owner_of(partition)
    lane = None if owner is None else owner.lane(partition)
    if lane is None:
        return [f"nobody has partition {partition}"]
    left = []
    end = world.broker.log(world.topics.log, partition).end
    if lane.durable < end:
        left.append(f"partition {partition} is durable up to {lane.durable} of {end}")
    archived = world.postgres.positions.get(partition, 0)
    end = world.broker.log(world.topics.facts, partition).end
    if archived < end:
        left.append(f"partition {partition} is archived up to {archived} of {end}")
    return left

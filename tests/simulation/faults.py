"""What goes wrong. Rates are for each time that it could; weights are against `turns.TURNS`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tests.simulation.turns import Turn

if TYPE_CHECKING:
    from tests.simulation.world import World

RATES: Final = {
    "kill": 0.001,
    "pause": 0.002,
    "stall": 0.002,
    "send fails": 0.01,
    "answer lost": 0.02,
    "misdelivery": 0.2,
    "impatience": 0.05,
}
"""At an effect, a process may be killed, or stopped; or it takes a while, and all else goes on."""
TO_PROCESSES: Final = ("kill", "pause", "stall")
SORE_RATE: Final = 0.3
SORE_TIMES: Final = 3
SORE_SPOTS: Final = (
    "fences",
    "has fenced",
    "sends",
    "commits",
    "has committed",
    "writes RocksDB",
    "asks for offsets",
    "reads",
    "writes Postgres",
    "has written Postgres",
)
"""Each seed does one of the things to processes at one of these effects, a few times."""
OUTAGE_S: Final = 8.0


def a_stranger(world: "World") -> bool:
    """Not a fault, but it ends with them: nobody waits for what strangers say."""
    world.strangers.act()
    return True


def power_fails(world: "World") -> bool:
    process = world.pick(world.free())
    if process is None:
        return False
    process.alive = False
    process.disk.lose_power(world.random)
    return True


def a_disk_is_emptied(world: "World") -> bool:
    process = world.pick([p for p in world.processes.values() if not p.alive])
    if process is None:
        return False
    process.disk.empty()
    return True


def a_node_stops(world: "World") -> bool:
    """SIGTERM."""
    process = world.pick(world.free())
    if process is None:
        return False
    process.terminate()
    return True


def a_node_sleeps(world: "World") -> bool:
    """SIGSTOP."""
    process = world.pick(world.free())
    if process is None:
        return False
    process.paused = True
    return True


def a_node_wakes(world: "World") -> bool:
    """SIGCONT."""
    process = world.pick([p for p in world.processes.values() if p.paused])
    if process is None:
        return False
    process.paused = False
    return True


def a_node_starts(world: "World") -> bool:
    return world.start_one()


def a_session_ends(world: "World") -> bool:
    return world.group.expel_the_silent()


def the_group_rebalances(world: "World") -> bool:
    if not world.group.members:
        return False
    world.group.rebalance()
    return True


def kafka_goes_away(world: "World") -> bool:
    world.broker.away_until = world.clock.now + OUTAGE_S * world.random.random()
    return True


def postgres_goes_away(world: "World") -> bool:
    world.postgres.away_until = world.clock.now + OUTAGE_S * world.random.random()
    return True


def a_transaction_times_out(world: "World") -> bool:
    return world.broker.time_out(world.random)


def a_changelog_is_compacted(world: "World") -> bool:
    log = world.pick([log for log in world.broker.logs() if log.topic.endswith("-changelog")])
    if log is None:
        return False
    log.compact()
    return True


FAULTS: Mapping[Turn, float] = {
    a_stranger: 2,
    power_fails: 0.05,
    a_disk_is_emptied: 0.2,
    a_node_stops: 0.06,
    a_node_sleeps: 0.1,
    a_node_wakes: 1,
    a_node_starts: 2,
    a_session_ends: 1,
    the_group_rebalances: 0.06,
    kafka_goes_away: 0.05,
    postgres_goes_away: 0.2,
    a_transaction_times_out: 0.1,
    a_changelog_is_compacted: 0.3,
}
ALWAYS: Final = (a_stranger, a_node_wakes, a_node_starts, a_session_ends)
"""Each seed leaves some faults out, so that others get further; but never these."""

"""What can happen to a cluster, and a seed that decides what happens when."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM
from typing import Final

from msgspec import Struct

from tests.chaos.cluster import COUNT, SESSION_S, Cluster


class Fault(Struct, frozen=True):
    """`after_s`: since the fault before it began. `target`: which of three. `for_s`: how long,
    where we say that. `by_force`: whether it is killed, where it may be asked to end as well."""

    kind: str
    after_s: float
    target: int
    for_s: float
    by_force: bool

    def __str__(self) -> str:
        after = f"{self.after_s:.1f} s later " if self.after_s else ""
        which = "" if self.kind.startswith("Postgres") else f" ({self.target})"
        return f"{after}{self.kind}{which}"


Happening = Callable[[Cluster, Fault], Awaitable[None]]
Round = tuple[Fault, ...]
"""Faults that overlap; before the next round all is well again."""

PAST_SESSION_S: Final = (SESSION_S + 1.0, SESSION_S + 6.0)
BRIEFLY_S: Final = (0.5, SESSION_S - 2.0)
AWAY_S: Final = (1.0, 8.0)
AT_ONCE: Final = 0.0


async def node_killed(cluster: Cluster, fault: Fault) -> None:
    """Its supervisor starts it again at once."""
    cluster.send(cluster.node(fault.target), SIGKILL)


async def node_terminated(cluster: Cluster, fault: Fault) -> None:
    """As for a new version."""
    pid = cluster.node(fault.target)
    cluster.send(pid, SIGTERM)
    await cluster.ended(pid)


async def node_paused(cluster: Cluster, fault: Fault) -> None:
    """It wakes up, and believes that no time has passed."""
    pid = cluster.node(fault.target)
    cluster.send(pid, SIGSTOP)
    try:
        await asyncio.sleep(fault.for_s)
    finally:
        cluster.send(pid, SIGCONT)


async def node_away(cluster: Cluster, fault: Fault) -> None:
    """Its partitions go to the others, and it comes back."""
    with cluster.unwatched():
        cluster.send(cluster.node(fault.target), SIGKILL)
        await asyncio.sleep(fault.for_s)


async def node_emptied(cluster: Cluster, fault: Fault) -> None:
    """It comes back with nothing on its disk."""
    with cluster.unwatched():
        pid = cluster.node(fault.target)
        cluster.send(pid, SIGKILL)
        await cluster.ended(pid)
        cluster.empty_disk(fault.target)


async def node_added(cluster: Cluster, fault: Fault) -> None:
    """It takes its share, and goes away again, one way or the other."""
    guest = cluster.guest()
    await asyncio.to_thread(guest.begin)
    await asyncio.sleep(fault.for_s)
    await asyncio.to_thread(guest.end, SIGKILL if fault.by_force else SIGTERM)


async def broker_ended(cluster: Cluster, fault: Fault) -> None:
    """One of three may be away. The next one may not before it is back."""
    await cluster.in_sync()
    pid = cluster.broker(fault.target)
    cluster.send(pid, SIGKILL if fault.by_force else SIGTERM)
    await cluster.ended(pid)


async def postgres_killed(cluster: Cluster, _fault: Fault) -> None:
    """It has to recover, and is back soon."""
    cluster.send(cluster.postmaster(), SIGKILL)


async def postgres_away(cluster: Cluster, fault: Fault) -> None:
    """Nothing is archived meanwhile."""
    with cluster.unwatched():
        pid = cluster.postmaster()
        cluster.send(pid, SIGKILL if fault.by_force else SIGINT)
        await asyncio.sleep(fault.for_s)


ADDED: Final = "node added, and taken away"

KINDS: Final[dict[str, tuple[Happening, tuple[float, float]]]] = {
    "node killed": (node_killed, BRIEFLY_S),
    "node terminated": (node_terminated, BRIEFLY_S),
    "node paused past its session": (node_paused, PAST_SESSION_S),
    "node paused briefly": (node_paused, BRIEFLY_S),
    "node away past its session": (node_away, PAST_SESSION_S),
    "node's disk emptied": (node_emptied, BRIEFLY_S),
    ADDED: (node_added, AWAY_S),
    "broker killed or terminated": (broker_ended, AWAY_S),
    "Postgres killed": (postgres_killed, BRIEFLY_S),
    "Postgres away": (postgres_away, AWAY_S),
}
"""What it does, and how long it lasts."""

OVERLAP: Final = 0.4
"""In so many of the rounds a second fault meets the first one's consequences."""
SECOND_AFTER_S: Final = (0.0, 6.0)


def rounds(seed: int) -> Iterator[Round]:
    """Every kind once in any order, then every kind again, without end."""
    draw = Random(seed)
    while True:
        for kind in draw.sample(list(KINDS), len(KINDS)):
            first = _fault(draw, kind, AT_ONCE)
            if draw.random() < OVERLAP:
                second = _fault(draw, draw.choice(list(KINDS)), draw.uniform(*SECOND_AFTER_S))
                yield (first, second) if _may_meet(first, second) else (first,)
            else:
                yield (first,)


def _fault(draw: Random, kind: str, after_s: float) -> Fault:
    for_s = draw.uniform(*KINDS[kind][1])
    return Fault(kind, after_s, draw.randint(1, COUNT), for_s, draw.random() < 0.5)


def _may_meet(one: Fault, other: Fault) -> bool:
    """Not two of one server, and not two brokers: then writes stop, rightly. There is one guest."""
    server = one.kind.split()[0]
    if server != other.kind.split()[0]:
        return True
    return server == "node" and one.target != other.target and not one.kind == other.kind == ADDED


async def happen(cluster: Cluster, faults: Round) -> None:
    """All of a round; returns when nothing more is done to the cluster."""
    begun_s = 0.0
    async with asyncio.TaskGroup() as group:
        for fault in faults:
            begun_s += fault.after_s
            group.create_task(_after(begun_s, cluster, fault))


async def _after(begun_s: float, cluster: Cluster, fault: Fault) -> None:
    await asyncio.sleep(begun_s)
    await KINDS[fault.kind][0](cluster, fault)

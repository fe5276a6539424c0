"""Membership: what a node may serve by what it has heard from the group, on a clock of our own."""

import asyncio
from collections.abc import Iterator

import pytest

from streams import membership
from streams.membership import Membership
from tests.simulation.clock import Clock

SESSION_S = 6.0


class Member:
    """A node at a clock; its loop ticks whenever time passes, unless it is stopped."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.acknowledged_at = clock.now
        self.silent = False
        self.membership = Membership(
            SESSION_S, lambda: self.acknowledged_at, lambda _seconds: self.silent
        )

    async def lives(self, seconds: float) -> None:
        """Time passes, and the loop is there."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += membership.TICK_S
            await self.tick()

    async def tick(self) -> None:
        running = asyncio.create_task(self.membership.run())
        await asyncio.sleep(0)
        running.cancel()

    def sleeps(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT."""
        self.clock.now += seconds

    @property
    def serves(self) -> bool:
        return self.membership.doubt is None


@pytest.fixture
def member(monkeypatch: pytest.MonkeyPatch) -> Iterator[Member]:
    clock = Clock()
    monkeypatch.setattr(membership, "time", clock)
    return Member(clock)


async def test_a_node_that_is_acknowledged_is_sure(member: Member) -> None:
    assert member.membership.sure
    for _ in range(5):
        await member.lives(SESSION_S / 2)
        member.acknowledged_at = member.clock.now
        assert member.membership.sure
        assert member.serves


async def test_before_the_group_has_answered_nothing_is_sure(member: Member) -> None:
    member.acknowledged_at = float("-inf")
    assert not member.membership.sure
    assert not member.serves


async def test_who_was_stopped_serves_nothing_before_a_heartbeat_of_afterwards(
    member: Member,
) -> None:
    """Also when it was shorter than a session: another process may have been given its name. And
    the broker may seem silent, because the question to it slept as well."""
    await member.tick()
    member.sleeps(SESSION_S / 2)
    member.silent = True
    assert not member.serves, "from the very first moment, before the loop has noticed anything"
    assert not member.membership.sure
    await member.tick()
    assert "was stopped" in str(member.membership.doubt)
    before = member.clock.now
    await member.lives(1)
    member.acknowledged_at = before - 0.1
    assert not member.serves, "it was on its way when the node was stopped"
    member.acknowledged_at = before
    assert member.serves
    assert member.membership.sure


async def test_who_falls_silent_for_a_session_serves_nothing(member: Member) -> None:
    """Whatever the reason: the broker answers everybody else."""
    await member.lives(SESSION_S - 0.5)
    assert member.serves
    await member.lives(1.5)
    assert not member.serves
    assert member.membership.doubt == "the group has not acknowledged this node for 7 s"


async def test_without_a_broker_it_serves_what_may_be_old(member: Member) -> None:
    member.silent = True
    await member.lives(20 * SESSION_S)
    assert member.serves
    assert not member.membership.sure, "which is said"
    member.sleeps(SESSION_S)
    assert not member.serves, "nobody knows what the broker did meanwhile"
    await member.lives(20 * SESSION_S)
    assert not member.serves
    member.acknowledged_at = member.clock.now
    assert member.serves

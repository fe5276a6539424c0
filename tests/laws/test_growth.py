"""A head stays small and an append stays cheap, however long the conversation is."""

import pytest

from schemas.policy import Policy
from streams.core.head import encode_head
from tests.support.fold import (
    World,
    append,
    archived,
    configure,
    last_n,
    manual,
    message,
    part,
    skip_parts,
)

MESSAGES = 5000
NUMBERS_GROW_BYTES = 64
"""msgpack writes 5,000 in more bytes than 5; that is all that a head may grow by."""

POLICIES = [last_n(50), skip_parts(), skip_parts("tool", limit=30), manual()]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_head_and_writes_do_not_grow_with_the_number_of_messages(policy: Policy) -> None:
    world = World()
    world.fold(configure(budget=1000, policy=policy))
    early = 0
    writes = 0
    for n in range(1, MESSAGES + 1):
        kind = "tool_result" if n % 3 == 0 else "text"
        said = message(part(kind), part(), tokens=10) if n % 6 else message(part("tool"), tokens=10)
        (folded,) = world.fold(append(said, key=f"key-{n}"))
        writes += len(folded.writes)
        if n == 10:
            early = len(encode_head(world.heads["c"]))
    assert len(encode_head(world.heads["c"])) <= early + NUMBERS_GROW_BYTES
    # The message and its answer; then its shown form, written once and taken away once.
    assert writes <= 4 * MESSAGES


def test_a_conversation_of_which_nothing_is_ever_shown_keeps_nothing_hot() -> None:
    world = World()
    world.fold(configure(budget=100, policy=skip_parts()))
    for n in range(1, 301):
        world.fold(append(message(part("tool_call"), tokens=80), key=f"key-{n}"))
        world.fold(archived({"c": n}))
    assert world.heads["c"].window.segments == ()
    assert world.rows == {}

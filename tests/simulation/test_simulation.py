"""Worlds that nobody has seen: whatever happens, the log is folded once, and nothing else shows.

A seed that fails is a bug report: `REWINDOW_SIM_SEED=n` plays it again, step by step.
"""

from tests.simulation.run import check, run, seeds
from tests.simulation.world import World

WORLDS = 300


def test_whatever_happens_nothing_is_lost_doubled_or_out_of_order() -> None:
    for seed in seeds(WORLDS):
        check(seed)


def test_a_seed_always_gives_the_same_world() -> None:
    first, again = (World(seed=7) for _ in range(2))
    assert run(first) == run(again)
    assert first.happened == again.happened
    assert len(first.happened) > 100

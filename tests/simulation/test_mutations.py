"""A simulation that finds nothing proves nothing: it has to see every order that is broken."""

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.run import run
from tests.simulation.world import World

WORLDS = 1000


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_broken_order_is_seen(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    assert any(run(World(seed)) for seed in range(WORLDS)), "no world shows it"

"""Real nodes, brokers and Postgres are hurt while everybody writes: nothing that was promised is
lost, doubled or moved. A few faults by chance here; `make chaos` has all of them, many times."""

from itertools import islice
from pathlib import Path

from tests.chaos.faults import KINDS, rounds
from tests.chaos.run import SEED, asked_seed, run, say

ROUNDS = 2


def test_whatever_happens_promises_are_kept(tmp_path: Path) -> None:
    seed = asked_seed()
    say(f"{SEED}={seed} plays the same faults again")
    account = run(tmp_path, islice(rounds(seed), ROUNDS))
    assert account.acknowledged > 0
    assert account.wrong == []


def test_a_seed_always_gives_the_same_faults() -> None:
    first, again = (list(islice(rounds(7), 2 * len(KINDS))) for _ in range(2))
    assert first == again
    assert {begun.kind for begun, *_ in first[: len(KINDS)]} == KINDS.keys()

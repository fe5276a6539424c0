"""What writers were told: what has to hold in the end."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.support.writers import Promise


class Told:
    """`promises`: what was acknowledged over HTTP. `delivered`: the texts that Kafka took, for each
    context in their order. `at`: when, for each context, something was acknowledged through either
    door, by the monotonic clock. `versions`: the newest one of each context that anybody was told.
    `refused`: how many races over a version were lost. `surprises`:
    every answer that neither is one of those nor asks for a retry. `retries`: by reason."""

    def __init__(self) -> None:
        self.promises: list[Promise] = []
        self.delivered: defaultdict[str, list[str]] = defaultdict(list)
        self.at: defaultdict[str, list[float]] = defaultdict(list)
        self.versions: defaultdict[str, int] = defaultdict(int)
        self.surprises: list[str] = []
        self.retries: Counter[str] = Counter()
        self.refused = 0

    @property
    def appends(self) -> int:
        """How many were acknowledged."""
        return sum(map(len, self.at.values()))

    def promised(self, context_id: str, texts: Sequence[str], first_seq: int, version: int) -> None:
        """An append was answered."""
        self.at[context_id].append(time.monotonic())
        self.versions[context_id] = max(self.versions[context_id], version)
        self.promises += [
            Promise(context_id, text, seq, version) for seq, text in enumerate(texts, first_seq)
        ]

    def taken(self, context_id: str, text: str) -> None:
        """Kafka has it, with all replicas that are in sync."""
        self.at[context_id].append(time.monotonic())
        self.delivered[context_id].append(text)

    def silent(self, since: float) -> list[str]:
        """The contexts in which nothing was acknowledged since then."""
        return [context_id for context_id, at in self.at.items() if at[-1] < since]

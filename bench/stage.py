"""What a job gets: a folder of its own, and how much to do in it."""

import time
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Stage:
    """`rounds`: how often to take each figure. `quick`: only see that it works."""

    def __init__(self, folder: Path, *, rounds: int, quick: bool) -> None:
        self.folder = folder
        self.rounds = rounds
        self.quick = quick
        self._begun = time.monotonic()

    def much(self, number: int) -> int:
        """That many, or a tenth of it."""
        return max(1, number // 10) if self.quick else number

    def say(self, text: str) -> None:
        """Something that was done, with the seconds since the job began."""
        print(f"  {time.monotonic() - self._begun:6.1f} s  {text}", flush=True)


def turned(variants: tuple[T, ...], number: int) -> tuple[T, ...]:
    """The variants in the order of one round: each comes first in turn."""
    at = number % len(variants)
    return variants[at:] + variants[:at]

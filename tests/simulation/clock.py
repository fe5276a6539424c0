"""The clock of a simulated world. It stands for the module `time`, and moves when it is told to."""

from collections.abc import Callable

EPOCH_S = 1_700_000_000.0


class Clock:
    """`now` in seconds. `slept` is called when somebody has slept, so that the world goes on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return EPOCH_S + self.now

    def time_ns(self) -> int:
        return self.time_ms() * 1_000_000

    def time_ms(self) -> int:
        return round(self.time() * 1000)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept()

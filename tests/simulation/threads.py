"""The module `threading`, as the archive and the writer to the log use it."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.process import Process


class _RoundOver(BaseException):
    """A thread that loops for ever has gone round once."""


class Event:
    """Stands for `threading.Event`. A loop that asks whether it is to stop is broken off when it
    has gone round as often as it was let."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        if not self._set:
            if self._process.rounds == 0:
                raise _RoundOver
            self._process.rounds -= 1
        return self._set

    def wait(self, timeout: float) -> bool:
        self._process.effect("waits")
        self._process.world.clock.sleep(timeout)
        self._process.rest(timeout)
        return self._set


class Thread:
    """Stands for `threading.Thread`: it goes round when the world says so. `owner`: whose thread it
    is.

    One that only polls a client has nothing to do: a client is polled when it has something to
    send.
    """

    def __init__(self, process: "Process", target: Any, name: str, **_more: bool) -> None:
        self.process = process
        self.owner: object = target.__self__
        self._target: Callable[[], None] = target
        self._polls = name == "log-writer"
        self._alive = False

    def start(self) -> None:
        self._alive = not self._polls
        if self._alive:
            self.process.threads.append(self)

    def is_alive(self) -> bool:
        return self._alive

    def go_round(self) -> None:
        """Once through the loop."""
        self.process.rounds = 1
        with suppress(_RoundOver):
            self._target()

    def join(self, _timeout: float | None = None) -> None:
        """It has been told to stop: let it end."""
        if self._alive:
            self.process.threads.remove(self)
            self._alive = False
            self._target()

"""What `up` says while it works: plain lines, and one that moves where there is a terminal."""

import time
from typing import Final

from rich.console import Console
from rich.status import Status

PLAIN_LINE_EVERY_S: Final = 5.0


class Saying:
    """Standard error; standard output belongs to what scripts read."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._status: Status | None = None
        self._doing = ""
        self._next_line = 0.0

    def line(self, text: str) -> None:
        """Something that happened."""
        self._console.print(text)

    def doing(self, text: str) -> None:
        """Something that goes on until the next word or `done()`."""
        self._doing = text
        if not self._console.is_terminal:
            self.line(text)
        elif self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)

    def detail(self, text: str) -> None:
        """How far it is; may be called often, and from any thread."""
        if self._status is not None:
            self._status.update(f"{self._doing}: {text}")
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_LINE_EVERY_S
            self.line(f"{self._doing}: {text}")

    def done(self) -> None:
        """Nothing goes on."""
        if self._status is not None:
            self._status.stop()
            self._status = None

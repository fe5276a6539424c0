"""`rewindow up`, as people type it: in a folder of its own, on a free port."""

import os
import subprocess
import sys
from pathlib import Path

from rewindow.embedded.ports import free_port
from rewindow.endpoints import Endpoints, read_endpoints
from tests.support.wait import until

REWINDOW = Path(sys.executable).with_name("rewindow")
STARTING_S = 120


class UpCommand:
    """Begun, not awaited. `said` is its standard output, `complained` its standard error.

    `told`: more of its environment, without `REWINDOW_`.
    """

    def __init__(self, folder: Path, *flags: str, port: int | None = None, **told: str) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / ".rewindow"
        self._output = folder / f"output-{self.port}.txt"
        self._errors = folder / f"errors-{self.port}.txt"
        ours = {k: v for k, v in os.environ.items() if not k.startswith("REWINDOW_")}
        more = {f"REWINDOW_{name.upper()}": value for name, value in told.items()}
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [REWINDOW, "up", "--port", str(self.port), *flags],
                cwd=folder,
                stdout=output,
                stderr=errors,
                env={**ours, "COLUMNS": "80", **more},
            )

    @property
    def said(self) -> str:
        return self._output.read_text()

    @property
    def complained(self) -> str:
        return self._errors.read_text()

    @property
    def endpoints(self) -> Endpoints:
        return read_endpoints(self.data)

    def wait_until_it_says(self, words: str) -> None:
        """Until the words stand on its standard output."""
        until(
            lambda: words in self.said or self.process.poll() is not None,
            f"`rewindow up` says {words!r}",
            deadline_s=STARTING_S,
        )
        assert words in self.said, f"`rewindow up` ended: {self.complained}"

    def end(self, number: int) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def discard(self) -> None:
        self.process.kill()
        self.process.wait()

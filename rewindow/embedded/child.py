"""A child process that writes its output to a file and dies with us."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

GUARD: Final = Path(__file__).with_name("guard.py")
LOG_TAIL_BYTES: Final = 4096

_SPAWNER: Final = ThreadPoolExecutor(1, thread_name_prefix="spawner")
"""Every child is made by this thread: the kernel ties a child's death to the end of the thread that
made it, and this one ends with the interpreter."""


class Child:
    """`env`: all of its environment, ours by default. `uid`: whom it runs as, us by default.

    `death_signal`: what it gets when this process is gone, however that went. May be made in any
    thread. Raises `OSError`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        uid: int | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.log = log
        guard = [sys.executable, "-I", str(GUARD), str(os.getpid()), str(death_signal.value)]
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process: subprocess.Popen[bytes] = _SPAWNER.submit(
                subprocess.Popen,
                [*guard, "-" if uid is None else str(uid), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=None if env is None else dict(env),
                # Ctrl-C in the terminal is for us to handle, in our order.
                start_new_session=True,
            ).result()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, minus the signal that ended it; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit status. Blocks. Raises `subprocess.TimeoutExpired`."""
        return self._process.wait(timeout_s)

    def stop(self, *, grace_s: float, by: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and kill it when it has not after `grace_s`. Blocks."""
        self._process.send_signal(by)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The last line that it wrote, for an error message."""
        with self.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - LOG_TAIL_BYTES))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line]
        return lines[-1].strip() if lines else "it wrote nothing"

"""What Kafka, Postgres and a node have in common: a child process that serves once it is ready."""

import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rewindow.embedded.child import Child
from rewindow.errors import CannotStart


class Ended(CannotStart):
    """The server's process ended before it was ready."""


class Server(ABC):
    """Its methods block, may be called from any thread, and `stop()` cuts the others short."""

    title: ClassVar[str]
    ready_s: ClassVar[float | None]
    """How long it may take to be ready; None: as long as it lives."""
    prepare_s: ClassVar[float] = 60
    stop_s: ClassVar[float]
    """How long it may take to stop before it is killed."""
    stop_by: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    look_again_s: ClassVar[float] = 0.05

    def __init__(self, name: str, logs: Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The process id of the newest process, None before there was one."""
        return None if self._child is None else self._child.pid

    @property
    def status(self) -> int | None:
        """The exit status of the newest process, None while it runs."""
        return None if self._child is None else self._child.status

    def start(self) -> None:
        """Prepare what it needs and start it, again too. Raises `CannotStart`, `OSError`."""
        with self._lock:
            self._stopped = False
        self._prepare()
        self._launch()

    def wait_ready(self) -> None:
        """Block until it serves. Raises `CannotStart`; `Ended` when its process did."""
        deadline = None if self.ready_s is None else time.monotonic() + self.ready_s
        while not self._serves():
            if self.status is not None:
                raise Ended(
                    f"{self.title} ended while it started: {self.last_words()} (its whole log is "
                    f"{self.log})"
                )
            if deadline is not None and time.monotonic() > deadline:
                raise CannotStart(
                    f"{self.title} was not ready within {self.ready_s:.0f} s; its log, {self.log}, "
                    "may say why"
                )
            time.sleep(self.look_again_s)

    def wait_ended(self) -> int:
        """Block until the newest process ends; its status, minus the signal that ended it."""
        assert self._child is not None, "start() comes first"
        return self._child.wait()

    def stop(self) -> None:
        """Stop it, and what a `start()` in another thread is about to do with it."""
        with self._lock:
            self._stopped = True
            child = self._child
        if child is not None:
            child.stop(grace_s=self.stop_s, by=self.stop_by)

    def last_words(self) -> str:
        """The last line of its log."""
        return "it wrote nothing" if self._child is None else self._child.last_words()

    def _prepare(self) -> None:
        """Do what has to be done before the first start, or before each. Raises `CannotStart`."""
        return

    @abstractmethod
    def _launch(self) -> None:
        """Call `_spawn` once."""

    @abstractmethod
    def _serves(self) -> bool:
        """Ask it, waiting a second or two at most."""

    def _spawn(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        uid: int | None = None,
    ) -> Child:
        """The one place where a process is made, so that none is after `stop()`."""
        with self._lock:
            if self._stopped:
                raise CannotStart(f"{self.title} was stopped while it started")
            self._child = Child(
                argv, log=self.log, cwd=cwd, env=env, uid=uid, death_signal=self.death_signal
            )
            return self._child

    def _run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        uid: int | None = None,
    ) -> None:
        """Run a tool to its end. Raises `CannotStart` where it fails."""
        tool = self._spawn(argv, cwd=cwd, env=env, uid=uid)
        try:
            status = tool.wait(self.prepare_s)
        except subprocess.TimeoutExpired:
            tool.stop(grace_s=1)
            status = -signal.SIGKILL
        if status != 0:
            raise CannotStart(
                f"the data folder of {self.title} could not be prepared: {tool.last_words()} (the "
                f"whole log is {self.log})"
            )

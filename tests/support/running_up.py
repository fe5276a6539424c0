"""`rewindow up` as a process of its own, with a stand-in for the node."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from rewindow.embedded.ports import free_port
from tests.support.wait import until

RUN_UP = Path(__file__).with_name("run_up.py")


class RunningUp:
    """An `up` over one data folder, in whatever state a test brings it to."""

    def __init__(self, data: Path, **more: str) -> None:
        self.data = data
        self.port = free_port(in_a_row=int(more.get("REWINDOW_NODES", "1")))
        self.url = f"http://127.0.0.1:{self.port}"
        told = {"REWINDOW_DATA": str(data), "REWINDOW_PORT": str(self.port), **more}
        self.log = data.with_name(f"{data.name}-{self.port}.log")
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(RUN_UP)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **told},
            )

    def first_line(self) -> str:
        """Of standard output; empty where it ended without one."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def endpoints(self) -> dict[str, Any]:
        """What any tool finds."""
        read: dict[str, Any] = json.loads((self.data / "endpoints.json").read_text())
        return read

    def node_pid(self) -> int:
        return int(self.endpoints()["nodes"][0]["pid"])

    def broker_pid(self) -> int:
        return int(self.endpoints()["brokers"][0]["pid"])

    def told(self) -> dict[str, str]:
        """The environment of the stand-in, once it answers."""

        def ask() -> dict[str, str] | None:
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:
                    read: dict[str, str] = json.load(answer)
                    return read
            except OSError:
                return None

        answer = until(ask, f"{self.url} answers")
        assert answer is not None
        return answer

    def end(self, *signals: int) -> int:
        """Send the signals; the exit status."""
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(60)

    def discard(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

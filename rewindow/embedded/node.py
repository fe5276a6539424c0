"""One node as a child process."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import httpx

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.server import Server

# -P: the folder that `up` is called in may have an `api` or a `schemas` of its own.
COMMAND: Final = (sys.executable, "-P", "-m", "rewindow", "node")
ASK_S: Final = 2.0


class Node(Server):
    """`command` is run with our environment and `told` on top, in which None takes a name away."""

    title = "the node"
    # It catches up with the log first, however long that is.
    ready_s = None
    stop_s = 30

    def __init__(
        self,
        name: str,
        url: str,
        folder: DataFolder,
        *,
        told: Mapping[str, str | None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        super().__init__(name, folder.folder("logs"))
        self.url = url
        self._told = {**told, "REWINDOW_DATA": str(folder.folder(name))}
        self._command = command

    def _launch(self) -> None:
        env = {**os.environ, **self._told}
        self._spawn(self._command, env={k: v for k, v in env.items() if v is not None})

    def _serves(self) -> bool:
        try:
            # A proxy of the environment has no business on this machine.
            answer = httpx.get(f"{self.url}/health/ready", timeout=ASK_S, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

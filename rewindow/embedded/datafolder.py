"""A data folder: held by one process at a time, and remembering what has to stay the same."""

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Final, TextIO

from rewindow.embedded.ports import free_port, is_free
from rewindow.errors import CannotStart

DYING_S: Final = 5.0
"""How long a server of ours that was killed may go on holding its port."""


class DataFolder:
    """Held from `hold()` until `release()` or the end of the process, however it ends.

    Nobody but its owner may look into it: it has conversations and a password in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: TextIO | None = None
        self._choosing = threading.Lock()

    def hold(self) -> None:
        """Make the folder and take it. Raises `CannotStart` where another process has it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+")
        except OSError as exc:
            raise CannotStart(
                f"the data folder {self.path} can't be used ({exc.strerror}); choose another one "
                "with --data or REWINDOW_DATA"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise CannotStart(
                f"another process (pid {holder or 'unknown'}) holds the data folder {self.path}; "
                "stop it, or choose another folder with --data or REWINDOW_DATA"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def folder(self, name: str) -> Path:
        """A folder inside, made where it is missing."""
        inside = self.path / name
        inside.mkdir(exist_ok=True)
        return inside

    def port(self, name: str) -> int:
        """The port that `name` had before, where it is free; else a new one, remembered. Blocks."""
        with self._choosing:
            known = self._known_ports()
            if name not in known or not is_free(known[name], within_s=DYING_S):
                taken = set(known.values())
                while (port := free_port()) in taken:
                    pass
                known[name] = port
                self.write("ports.json", json.dumps(known))
            return known[name]

    def remembered(self, name: str, text: str) -> str:
        """What the file `name` holds; `text`, which is put there, where it is missing. Blocks."""
        with self._choosing:
            file = self.path / name
            if not file.exists():
                self.write(name, text)
            return file.read_text()

    def write(self, name: str, text: str) -> None:
        """Put a file there whole or not at all, for its owner only."""
        new = self.path / f"{name}.new"
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(text)
        new.replace(self.path / name)

    def _known_ports(self) -> dict[str, int]:
        file = self.path / "ports.json"
        ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        return ports

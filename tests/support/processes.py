"""Processes, seen from outside."""

from contextlib import suppress

import psutil


def gone(pid: int) -> bool:
    """Whether it ended; one that its parent has not buried yet has ended too."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def family(pid: int) -> dict[int, str]:
    """What it made, and what those made, as far as it lives: process id → name."""
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found[child.pid] = child.name()
    return found


def made_by(pid: int, name: str) -> list[int]:
    """The processes of this name that it made itself."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            found += [child.pid] if child.name() == name else []
    return found

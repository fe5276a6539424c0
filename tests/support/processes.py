"""Processes, seen from outside."""

import psutil


def gone(pid: int) -> bool:
    """Whether it ended; one that its parent has not buried yet has ended too."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def family(pid: int) -> dict[int, str]:
    """What it made, and what those made: process id → name."""
    return {child.pid: child.name() for child in psutil.Process(pid).children(recursive=True)}

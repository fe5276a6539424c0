"""Free ports below the ephemeral range: a client there can't connect to itself by accident."""

import random
import socket
import time
from typing import Final

FIRST: Final = 20_000
LAST: Final = 32_000
LOOK_AGAIN_S: Final = 0.05


def is_free(port: int, *, within_s: float = 0.0) -> bool:
    """Whether somebody could listen on 127.0.0.1 there, now or `within_s`. Blocks for that long.

    The time is for what was killed a moment ago and still holds its port.
    """
    deadline = time.monotonic() + within_s
    while not _can_bind(port):
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_AGAIN_S)
    return True


def free_port(in_a_row: int = 1) -> int:
    """A port that is free now, taken at random so that two that ask seldom get the same.

    With `in_a_row`, the first of so many that follow each other.
    """
    while True:
        port = random.randrange(FIRST, LAST)
        if all(map(is_free, range(port, port + in_a_row))):
            return port


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

"""The long form: every fault many times, `python -m tests.chaos`."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.chaos.faults import Round, rounds
from tests.chaos.run import SEED, asked_seed, run, say

MINUTES: Final = "REWINDOW_CHAOS_MINUTES"
MINUTES_DEFAULT: Final = "15"
CALM_ROUNDS: Final = 2


def main() -> int:
    """Exit status 1 where something is wrong; the folder with all logs stays then."""
    seed = asked_seed()
    folder = Path(tempfile.mkdtemp(prefix="rewindow-chaos-"))
    say(f"chaos: {SEED}={seed} plays the same faults again; logs are in {folder}")
    minutes = float(os.environ.get(MINUTES, MINUTES_DEFAULT))
    account = run(folder, _for(minutes * 60, rounds(seed)))
    for wrong in account.wrong:
        say(f"WRONG: {wrong}")
    if account.wrong:
        return 1
    shutil.rmtree(folder)
    return 0


def _for(seconds: float, faults: Iterator[Round]) -> Iterator[Round]:
    """Some rounds without a fault, to compare with; then as many as there is time for."""
    yield from [()] * CALM_ROUNDS
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield next(faults)


if __name__ == "__main__":
    sys.exit(main())

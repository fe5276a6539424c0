"""Many worlds, on every core: `python -m tests.simulation [how many]`."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from tests.simulation.run import Failed, check, seeds

WORLDS: Final = 2000
CHUNK: Final = 25


def failed(seed: int) -> str | None:
    """What a world that did not hold says."""
    try:
        check(seed)
    except Failed as exc:
        return str(exc)
    return None


def main() -> int:
    """Exit status 1 where one failed."""
    asked = seeds(int(sys.argv[1]) if len(sys.argv) > 1 else WORLDS)
    began = time.monotonic()
    failures = 0
    with ProcessPoolExecutor() as pool:
        for told in pool.map(failed, asked, chunksize=CHUNK):
            if told is not None:
                failures += 1
                sys.stdout.write(f"{told}\n")
    took_s = time.monotonic() - began
    sys.stdout.write(
        f"sim: {len(asked)} worlds from seed {asked.start}, {failures} failed, {took_s:.0f} s\n"
    )
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())

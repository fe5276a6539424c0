"""`python -m bench [JOB...]`: run jobs, print what they saw, and write it to `bench/results/`."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, report
from bench.jobs import JOBS
from bench.results import JobResult, Report
from bench.stage import Stage
from rewindow.errors import CannotStart

RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """The entry point. What can't be done is said in one sentence, with a status of 1."""
    asked = _asked()
    # A setting of the shell must not change the figures.
    for name in [name for name in os.environ if name.startswith("REWINDOW_")]:
        del os.environ[name]
    try:
        with tempfile.TemporaryDirectory(prefix="rewindow-bench-", dir=asked.scratch) as scratch:
            whole = _run(asked, Path(scratch))
    except CannotStart as exc:
        sys.exit(f"bench: {exc}")
    if asked.quick:
        print("nothing is written after --quick: its figures only show that the jobs run")
        return
    for file in report.write(whole, RESULTS):
        print(f"written: {file}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(JOBS)}; all if none")
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is taken (3)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round")
    parser.add_argument("--scratch", type=Path, help="the folder to put data in, for its disk")
    asked = parser.parse_args()
    if unknown := set(asked.jobs) - JOBS.keys():
        parser.error(f"no such job: {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}")
    return asked


def _run(asked: argparse.Namespace, scratch: Path) -> Report:
    begun = time.strftime("%Y-%m-%d")
    of = machine.machine(scratch)
    results: list[JobResult] = []
    for name in asked.jobs or JOBS:
        folder = scratch / name
        folder.mkdir()
        stage = Stage(folder, rounds=1 if asked.quick else asked.rounds, quick=asked.quick)
        stage.say(f"{name}: begins")
        clock = machine.Clock()
        outcome = JOBS[name](stage)
        results.append(JobResult(name, outcome, clock.seconds(), clock.others_percent()))
        report.show(results[-1])
    return Report(begun, machine.commit(), asked.rounds, of, machine.versions(), results)


if __name__ == "__main__":
    main()

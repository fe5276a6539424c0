"""Children log, stop when asked, and never outlive us."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rewindow.embedded.child import Child
from tests.support.processes import gone
from tests.support.wait import until

SLEEP = [sys.executable, "-c", "import time; print('asleep', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True);"
    "time.sleep(600)",
]
PARENT = """
import sys, threading
from pathlib import Path
from rewindow.embedded.child import Child

def make():
    child = Child(sys.argv[2:], log=Path(sys.argv[1]))
    print(child.pid, flush=True)

# The thread that asked for the child is gone long before the process.
thread = threading.Thread(target=make)
thread.start()
thread.join()
sys.stdin.read()
"""


def said(child: Child, word: str) -> bool:
    return word in child.log.read_text()


def test_its_output_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("first", "second"):
        child = Child([sys.executable, "-c", f"print('{word}')"], log=log)
        assert child.wait(30) == 0
    assert log.read_text().split() == ["first", "second"]


def test_the_last_words_are_those_of_this_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of another one\n")
    silent = Child([sys.executable, "-c", ""], log=log)
    silent.wait(30)
    assert silent.last_words() == "it wrote nothing"
    failed = Child(
        [sys.executable, "-c", "print('a\\nb\\n'); raise SystemExit('no disk')"], log=log
    )
    assert failed.wait(30) == 1
    assert failed.last_words() == "no disk"


def test_a_program_that_is_missing_is_said_in_the_log(tmp_path: Path) -> None:
    child = Child(["/nowhere/at/all"], log=tmp_path / "log")
    assert child.wait(30) != 0
    assert child.last_words() == "/nowhere/at/all can't be run: No such file or directory"


def test_it_ends_when_asked(tmp_path: Path) -> None:
    child = Child(SLEEP, log=tmp_path / "log")
    until(lambda: said(child, "asleep"))
    child.stop(grace_s=30)
    assert child.status == -signal.SIGTERM
    child.stop(grace_s=30)


def test_it_is_killed_when_it_does_not_listen(tmp_path: Path) -> None:
    child = Child(STUBBORN, log=tmp_path / "log")
    until(lambda: said(child, "deaf"))
    child.stop(grace_s=0.1)
    assert child.status == -signal.SIGKILL


def test_it_outlives_the_thread_that_made_it(tmp_path: Path) -> None:
    made: list[Child] = []
    thread = threading.Thread(target=lambda: made.append(Child(SLEEP, log=tmp_path / "log")))
    thread.start()
    thread.join()
    (child,) = made
    until(lambda: said(child, "asleep"))
    assert child.status is None
    child.stop(grace_s=30)


def test_a_parent_that_is_killed_leaves_no_child(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log), *STUBBORN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        pid = int(parent.stdout.readline())
        until(lambda: "deaf" in log.read_text())
        parent.kill()
        parent.wait(30)
    until(lambda: gone(pid), "the child is gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_can_give_up_its_rights_for_it(tmp_path: Path) -> None:
    script = "import os; print(os.getresuid(), os.getgroups())"
    child = Child([sys.executable, "-c", script], log=tmp_path / "log", uid=65534)
    if child.wait(30) == 0:
        assert child.last_words() == "(65534, 65534, 65534) []"
    else:
        assert "Permission denied" in child.last_words(), "Python is where only root may go"

"""A part of the bench as a process of its own: told by a file, answering by another one."""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from bench.machine import ROOT
from rewindow.embedded.child import Child
from rewindow.errors import CannotStart

T = TypeVar("T")

PATIENCE_S: Final = 180.0
_numbers = count()


def call(module: str, told: Struct, kind: type[T], folder: Path) -> T:
    """Run `python -m MODULE` to its end, and read what it answers. Raises `CannotStart`."""
    question = folder / f"{module.rpartition('.')[2]}-{next(_numbers)}.json"
    question.write_bytes(msgspec.json.encode(told))
    log = question.with_suffix(".log")
    child = Child([sys.executable, "-m", module, str(question)], log=log, cwd=ROOT)
    try:
        status = child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.stop(grace_s=1)
        raise CannotStart(f"{module} did not end within {PATIENCE_S:.0f} s") from None
    if status != 0:
        raise CannotStart(f"{module} ended with status {status}: {child.last_words()}")
    return msgspec.json.decode(_answer_to(question).read_bytes(), type=kind)


def told(kind: type[T]) -> T:
    """In the child: what it is to do."""
    return msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=kind)


def answer(value: Struct) -> None:
    """In the child: what came of it. Ends the process, whatever else goes on in it."""
    _answer_to(Path(sys.argv[1])).write_bytes(msgspec.json.encode(value))
    os._exit(0)


def _answer_to(question: Path) -> Path:
    return question.with_suffix(".answer")

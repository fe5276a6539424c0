"""Partitions folded side by side, each in a process of its own: the fold is Python, and keeps one
core busy."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from streams import encodings
from streams.progress import Progress, Watch
from streams.replay import Replay
from streams.scratch import Scratch
from streams.settings import StreamSettings
from streams.tables.source import Source

_FRESH: Final = multiprocessing.get_context("spawn")
"""Nothing of librdkafka's threads survives a fork."""


PR_SET_PDEATHSIG: Final = 1


class FoldFailed(Exception):
    """A process ended without a word; says which."""


class _Refused(NamedTuple):
    """What Kafka said, in a form that goes from one process to another."""

    code: int
    says: str


class Folder:
    """A process that folds one partition after the other, and ends with us. `partition`: what it
    works at, until it has said that it is done."""

    def __init__(self, settings: StreamSettings, scratch: Path) -> None:
        self.partition = -1
        self.pipe, theirs = _FRESH.Pipe()
        self._process: BaseProcess = _FRESH.Process(
            target=_work, args=(os.getpid(), settings, scratch, theirs), daemon=True
        )
        self._process.start()
        # The other end is the child's alone, so that the pipe breaks when the child is gone.
        theirs.close()

    def fold(self, partition: int, end: int) -> None:
        """Begin with a partition, up to an offset of the log. Raises `FoldFailed`."""
        self.partition = partition
        try:
            self.pipe.send((partition, end))
        except BrokenPipeError:
            raise self._failed() from None

    def heard(self, watch: Watch) -> int | None:
        """Take one word of it; at the end, how many events were folded. Raises `FoldFailed`,
        `KafkaException`."""
        try:
            word: Progress | int | _Refused = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            # A reset, where it had not read what it was to do.
            raise self._failed() from None
        match word:
            case Progress():
                watch(word)
                return None
            case _Refused(code, says):
                raise KafkaException(KafkaError(code, says))
            case events:
                return events

    def _failed(self) -> FoldFailed:
        self._process.join()
        return FoldFailed(
            f"the process that folded partition {self.partition} ended with status "
            f"{self._process.exitcode}"
        )

    def stop(self) -> None:
        """End it, wherever it is; what it has stored stays."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def with_a_word(folders: Sequence[Folder]) -> list[Folder]:
    """Those that have something to say; blocks until one has."""
    ready = wait([one.pipe for one in folders])
    return [one for one in folders if one.pipe in ready]


def _work(parent: int, settings: StreamSettings, scratch: Path, pipe: Connection) -> None:
    """In the child, until nobody asks for more."""
    _end_with(parent)
    source = Source(settings.librdkafka(), settings.topics.log)
    try:
        while True:
            partition, end = pipe.recv()
            with closing(Scratch(scratch, partition)) as ours:
                events = Replay(source, ours, encodings.measure).fold_up_to(end, pipe.send)
            pipe.send(events)
    except KafkaException as exc:
        pipe.send(_Refused(exc.args[0].code(), exc.args[0].str()))
    except (EOFError, BrokenPipeError):
        # Where the system does not tell us, the pipe does: the parent is gone.
        return


def _end_with(parent: int) -> None:
    """Whoever comes after a parent that was killed finds the scratch space free."""
    # Ctrl-C in the terminal is for the parent to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)

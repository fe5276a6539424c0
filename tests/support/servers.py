"""A server that runs for as long as a test needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import Kafka
from rewindow.embedded.server import Server

S = TypeVar("S", bound=Server)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Started and ready; stopped at the end, whatever happened."""
    try:
        server.start()
        server.wait_ready()
        yield server
    finally:
        server.stop()


@contextmanager
def held(path: Path) -> Iterator[DataFolder]:
    """A data folder of ours until the end."""
    folder = DataFolder(path)
    folder.hold()
    try:
        yield folder
    finally:
        folder.release()


def new_kafka(folder: DataFolder) -> Kafka:
    """A broker that is not started yet. Fetches the jars where they are missing."""
    return Kafka(folder, class_path(lambda _said: None))

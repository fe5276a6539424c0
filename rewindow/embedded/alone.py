"""The Kafka of a stopped `up`, started for one command that needs nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import Kafka
from rewindow.errors import CannotStart


@contextmanager
def kafka_alone(data: Path) -> Iterator[str]:
    """The broker's address, while the folder is ours. Raises `CannotStart`, also where an `up`
    runs over it: it has to be stopped first."""
    if not (data / "kafka").is_dir():
        raise CannotStart(f"there is no data of `rewindow up` in {data}; say where with --data")
    folder = DataFolder(data)
    folder.hold()
    try:
        kafka = Kafka(folder, class_path(lambda _said: None))
        try:
            kafka.start()
            kafka.wait_ready()
            yield kafka.address
        finally:
            kafka.stop()
    finally:
        folder.release()

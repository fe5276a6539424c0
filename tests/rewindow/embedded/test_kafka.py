"""A real broker: its data outlive it, and its limits are the ones we need."""

from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from rewindow.embedded.kafka import Kafka
from schemas.limits import RECORD_BYTES_MAX
from tests.support.servers import held, new_kafka, running


def create(address: str, topic: str, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 1, config=config)])[topic].result(30)


def produce(address: str, topic: str, *values: bytes) -> None:
    failures: list[object] = []
    producer = Producer(
        {"bootstrap.servers": address, "acks": "all", "message.max.bytes": RECORD_BYTES_MAX + 1000}
    )
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _m: failures.append(error))
    assert producer.flush(30) == 0
    assert failures == [None] * len(values)


def consume(address: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "no group is joined"})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    try:
        return [message.value() or b"" for message in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()


def test_its_data_and_its_address_outlive_it(tmp_path: Path) -> None:
    # A folder as people have them: nothing of the path may matter to Java.
    path = tmp_path / "Müllers Dätä {1} 😀"
    with held(path) as folder, running(new_kafka(folder)) as first:
        create(first.address, "kept")
        produce(first.address, "kept", b"one", b"two")
        address = first.address
    with held(path) as folder, running(new_kafka(folder)) as second:
        assert isinstance(second, Kafka)
        assert second.address == address
        assert consume(address, "kept", 2) == [b"one", b"two"]


def test_it_takes_the_largest_record(kafka: str, prefix: str) -> None:
    create(kafka, prefix, **{"max.message.bytes": str(RECORD_BYTES_MAX + 1000)})
    largest = bytes(RECORD_BYTES_MAX)
    produce(kafka, prefix, largest)
    assert consume(kafka, prefix, 1) == [largest]


def test_it_is_set_as_the_streams_need_it(kafka: str, prefix: str) -> None:
    resource = ConfigResource(ResourceType.BROKER, "1")
    admin = AdminClient({"bootstrap.servers": kafka})
    entries = admin.describe_configs([resource])[resource].result(30)
    config = {name: entry.value for name, entry in entries.items()}
    assert config["auto.create.topics.enable"] == "false"
    assert config["group.min.session.timeout.ms"] == "1000"
    assert config["transaction.max.timeout.ms"] == "900000"
    assert config["group.initial.rebalance.delay.ms"] == "0"
    assert config["listeners"].startswith(f"PLAINTEXT://{kafka},CONTROLLER://127.0.0.1:")


def test_a_transaction_may_wait_out_a_long_outage(kafka: str, prefix: str) -> None:
    create(kafka, prefix)
    producer = Producer(
        {"bootstrap.servers": kafka, "transactional.id": prefix, "transaction.timeout.ms": 900_000}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(prefix, b"in a transaction")
    producer.commit_transaction(30)
    assert consume(kafka, prefix, 1) == [b"in a transaction"]

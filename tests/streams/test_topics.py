"""Topics are made where they are missing, and never taken where they have another shape."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from schemas.limits import LOG_RECORD_BYTES_MAX, RECORD_BYTES_MAX
from schemas.topics import topic_shapes
from streams.topics import TopicsUnfit, partitions_of, prepare_topics
from tests.support.deployment import PATIENCE_S, Deployment


@pytest.fixture
def bare(kafka: str, prefix: str, tmp_path: Path) -> Deployment:
    """A deployment without topics."""
    return Deployment(kafka, prefix, tmp_path, partitions=3)


@pytest.fixture
def admin(kafka: str) -> Iterator[AdminClient]:
    return AdminClient({"bootstrap.servers": kafka})


def made(admin: AdminClient, topic: str, partitions: int, **config: str) -> None:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    wanted = NewTopic(topic, partitions, 1, config=settings)
    admin.create_topics([wanted], operation_timeout=PATIENCE_S)[topic].result()


def config_of(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = admin.describe_configs([resource])[resource].result()
    return {name: entry.value for name, entry in found.items()}


def test_every_topic_is_made_as_the_contract_has_it(bare: Deployment, admin: AdminClient) -> None:
    shapes = topic_shapes(bare.topics, 3, log_retention_ms=-1, facts_retention_ms=7_000)
    prepare_topics(bare.kafka, shapes, replication=1, timeout_s=PATIENCE_S)
    day_ms, log, other = 86_400_000, str(LOG_RECORD_BYTES_MAX), str(RECORD_BYTES_MAX)
    names = ("cleanup.policy", "retention.ms", "message.timestamp.type", "max.message.bytes")
    found = {
        shape.name.removeprefix(bare.topics.prefix): tuple(
            config_of(admin, shape.name)[name] for name in names
        )
        for shape in shapes
    }
    assert found == {
        ".log": ("delete", "-1", "LogAppendTime", log),
        ".facts": ("delete", "7000", "CreateTime", other),
        ".dead": ("delete", str(30 * day_ms), "CreateTime", other),
        "-windows-changelog": ("compact", str(7 * day_ms), "CreateTime", other),
        "-tails-changelog": ("compact", str(7 * day_ms), "CreateTime", other),
    }
    assert [partitions_of(bare.kafka, shape.name) for shape in shapes] == [3] * 5
    assert partitions_of(bare.kafka, bare.topics.prefix) == 0


def test_several_nodes_may_start_at_once(bare: Deployment) -> None:
    with ThreadPoolExecutor(4) as nodes:
        for node in [nodes.submit(bare.prepare) for _ in range(4)]:
            node.result()
    bare.prepare()


def unfit(deployment: Deployment) -> str:
    with pytest.raises(TopicsUnfit) as told:
        deployment.prepare()
    return str(told.value)


def test_another_number_of_partitions_is_refused(bare: Deployment, admin: AdminClient) -> None:
    made(admin, bare.topics.facts, 2)
    assert unfit(bare) == (
        f"topic {bare.topics.facts} has 2 partitions, this node is set to 3; set "
        "REWINDOW_PARTITIONS=2, or bring the log into a new one with 3 by `rewindow replay`"
    )


def test_a_log_with_the_writers_clock_is_refused(bare: Deployment, admin: AdminClient) -> None:
    made(admin, bare.topics.log, 3, max_message_bytes=str(LOG_RECORD_BYTES_MAX))
    assert unfit(bare) == (
        f"topic {bare.topics.log} has message.timestamp.type=CreateTime, Rewindow needs "
        "LogAppendTime; run `rewindow replay` again if one was interrupted, else alter the topic's "
        "config, or choose another REWINDOW_PREFIX"
    )


def test_a_changelog_that_forgets_is_refused(bare: Deployment, admin: AdminClient) -> None:
    changelog = bare.topics.changelog("tails")
    made(admin, changelog, 3, cleanup_policy="delete", max_message_bytes=str(RECORD_BYTES_MAX))
    assert unfit(bare) == (
        f"topic {changelog} has cleanup.policy=delete, Rewindow needs compact; alter the topic's "
        "config, or choose another REWINDOW_PREFIX"
    )


def test_dead_letters_that_take_no_large_record_are_refused(
    bare: Deployment, admin: AdminClient
) -> None:
    """A record that can't be buried would stop its partition."""
    made(admin, bare.topics.dead, 3, max_message_bytes="1048588")
    assert unfit(bare) == (
        f"topic {bare.topics.dead} has max.message.bytes=1048588, Rewindow needs at least "
        f"{RECORD_BYTES_MAX}; alter the topic's config, or choose another REWINDOW_PREFIX"
    )


def test_larger_records_than_we_need_are_nobodys_problem(
    bare: Deployment, admin: AdminClient
) -> None:
    made(admin, bare.topics.dead, 3, max_message_bytes=str(2 * RECORD_BYTES_MAX))
    bare.prepare()


def test_without_a_broker_it_says_what_to_do() -> None:
    kafka = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    with pytest.raises(TopicsUnfit) as told:
        prepare_topics(kafka, (), replication=1, timeout_s=0.1)
    assert str(told.value) == (
        "no broker at 127.0.0.1:1 answered within 0.1 s; start it, or set REWINDOW_KAFKA to where "
        "it is"
    )


def test_asking_for_a_topic_without_a_broker_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.topics.LIST_S", 0.2)
    with pytest.raises(
        TopicsUnfit, match=r"no broker at 127\.0\.0\.1:1 answers .*; start it, or set"
    ):
        partitions_of({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "log")

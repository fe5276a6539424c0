"""Changelogs cut off at their ends: what a rebuild throws away."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams.core.rows import POSITION_KEY
from streams.tables.transaction import TransactionWriter

POLICY_S: Final = 30.0
"""How long the leader of a partition may take to hear of a topic's new policy."""
ASK_AGAIN_S: Final = 0.05


def cut(
    admin: AdminClient, topics: Sequence[str], partition: int, writer: TransactionWriter
) -> None:
    """Cut one partition of each topic behind a record of our own, so that the cut lies beyond what
    any node has on its disk: that is how a node knows that its disk is void.

    Blocks. Raises `Fenced`, `KafkaException`.
    """
    last = writer.commit({topic: {POSITION_KEY: None} for topic in topics}, [])
    cuts = [TopicPartition(topic, partition, last[topic] + 1) for topic in topics]
    with _deletable(admin, topics):
        for one in cuts:
            _delete_before(admin, one)


def compact_only(admin: AdminClient, topics: Sequence[str]) -> None:
    """Give topics the policy that they had before a cut, which may have been interrupted."""
    _alter(admin, topics, AlterConfigOpType.SUBTRACT, AlterConfigOpType.DELETE)


def _delete_before(admin: AdminClient, cut: TopicPartition) -> None:
    deadline = time.monotonic() + POLICY_S
    while True:
        try:
            admin.delete_records([cut])[cut].result()
        except KafkaException as exc:
            heard = exc.args[0].code() != KafkaError.POLICY_VIOLATION
            if heard or time.monotonic() > deadline:
                raise
            time.sleep(ASK_AGAIN_S)
        else:
            return


@contextmanager
def _deletable(admin: AdminClient, topics: Sequence[str]) -> Iterator[None]:
    """A broker cuts no topic that is only compacted; so its policy is another one for a moment, in
    which nothing may be deleted for its age or its size."""
    _alter(admin, topics, AlterConfigOpType.APPEND, AlterConfigOpType.SET)
    try:
        yield
    finally:
        compact_only(admin, topics)


def _alter(
    admin: AdminClient,
    topics: Sequence[str],
    policy: AlterConfigOpType,
    retention: AlterConfigOpType,
) -> None:
    changes = [
        ConfigEntry("cleanup.policy", "delete", incremental_operation=policy),
        ConfigEntry("retention.ms", "-1", incremental_operation=retention),
        ConfigEntry("retention.bytes", "-1", incremental_operation=retention),
    ]
    resources = [
        ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes) for topic in topics
    ]
    for altered in admin.incremental_alter_configs(resources).values():
        altered.result()

"""The group of a deployment's nodes, as those see it who may only work while it is empty."""

import time
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

LEAVING_S: Final = 2.0
"""How much longer than its session a node that ended may be counted as a member."""
LOOK_AGAIN_S: Final = 0.2
STARTING: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
"""What a broker says of a group for a moment after its start."""


def is_left_by_all(admin: AdminClient, group: str, session_timeout_s: float) -> bool:
    """Whether no node runs. One that ended is a member until its session is over, because it keeps
    its place that long; so this waits. Raises `KafkaException`."""
    deadline = time.monotonic() + session_timeout_s + LEAVING_S
    while _may_have_members(admin, group):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_AGAIN_S)
    return True


def _may_have_members(admin: AdminClient, group: str) -> bool:
    """Whether somebody is in the group, as far as the broker can tell yet."""
    try:
        return bool(admin.describe_consumer_groups([group])[group].result().members)
    except KafkaException as exc:
        if exc.args[0].code() not in STARTING:
            raise
        return True

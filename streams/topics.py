"""Topics on the broker: made where they are missing, refused where they have another shape.

Everything that Faust touches has to exist before it starts: a changelog that is missing then stalls
the app while it says that it is ready.
"""

import time
from collections.abc import Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from schemas.topics import TopicShape
from streams.settings import KafkaConfig, StreamSettings

log = structlog.get_logger()

LIST_S: Final = 10.0
ANSWER_S: Final = 3.0

_CHECKED_CONFIG = ("cleanup.policy", "message.timestamp.type")
_SIZE_CONFIG = "max.message.bytes"
_CURES = {
    "message.timestamp.type": "run `rewindow replay` again if one was interrupted, else ",
}
"""What else may be the matter, before the operator's own hand is."""


class TopicsUnfit(Exception):
    """The broker can't be reached in time, or a topic has another shape; says what to do."""


def partitions_of(kafka: KafkaConfig, topic: str) -> int:
    """How many partitions a topic has; 0 where there is no such topic. Raises `TopicsUnfit`."""
    admin = AdminClient(dict(kafka))
    try:
        known = admin.list_topics(timeout=LIST_S).topics
    except KafkaException as exc:
        raise TopicsUnfit(
            f"no broker at {kafka['bootstrap.servers']} answers ({exc.args[0].str()}); start it, "
            "or set REWINDOW_KAFKA to where it is"
        ) from None
    return len(known[topic].partitions) if topic in known else 0


def log_partitions(settings: StreamSettings) -> int:
    """How many partitions a deployment has. Raises `TopicsUnfit` where there is no deployment."""
    topic = settings.topics.log
    partitions = partitions_of(settings.librdkafka(), topic)
    if partitions == 0:
        raise TopicsUnfit(
            f"there is no topic {topic} on {settings.kafka}; set REWINDOW_KAFKA and "
            "REWINDOW_PREFIX to what the nodes were given"
        )
    return partitions


def topic_id(kafka: KafkaConfig, topic: str) -> str:
    """What no other topic has, nor the same one made anew. Raises `KafkaException`."""
    admin = AdminClient(dict(kafka))
    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=LIST_S)
    return str(asked[topic].result().topic_id)


def prepare_topics(
    kafka: KafkaConfig, shapes: Sequence[TopicShape], *, replication: int, timeout_s: float
) -> None:
    """Wait for the broker, make what is missing, check the shape of what exists.

    Several nodes may do this at once. Raises `TopicsUnfit`.
    """
    admin = AdminClient(dict(kafka))
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if _all_led(admin, shapes, replication, min(ANSWER_S, timeout_s)):
                return _check(admin, shapes)
        except KafkaException as exc:
            log.info("waiting for the broker", broker=kafka["bootstrap.servers"], why=str(exc))
        if time.monotonic() > deadline:
            raise TopicsUnfit(
                f"no broker at {kafka['bootstrap.servers']} answered within {timeout_s:g} s; "
                "start it, or set REWINDOW_KAFKA to where it is"
            )
        time.sleep(0.1)


def _all_led(
    admin: AdminClient, shapes: Sequence[TopicShape], replication: int, answer_s: float
) -> bool:
    """Whether every partition of every topic has a leader; missing topics are asked for."""
    known = admin.list_topics(timeout=answer_s).topics
    missing = [shape for shape in shapes if shape.name not in known]
    if missing:
        _create(admin, missing, replication)
        return False
    return all(p.leader >= 0 for shape in shapes for p in known[shape.name].partitions.values())


def _create(admin: AdminClient, shapes: Sequence[TopicShape], replication: int) -> None:
    wanted = [
        NewTopic(
            shape.name,
            num_partitions=shape.partitions,
            replication_factor=replication,
            config=shape.config,
        )
        for shape in shapes
    ]
    for made in admin.create_topics(wanted, operation_timeout=5, request_timeout=10).values():
        try:
            made.result()
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _check(admin: AdminClient, shapes: Sequence[TopicShape]) -> None:
    """Refuse a topic whose partitions or whose decisive settings differ."""
    known = admin.list_topics(timeout=10).topics
    resources = [ConfigResource(ResourceType.TOPIC, shape.name) for shape in shapes]
    configs = {r.name: f.result() for r, f in admin.describe_configs(resources).items()}
    for shape in shapes:
        have = len(known[shape.name].partitions)
        if have != shape.partitions:
            raise TopicsUnfit(
                f"topic {shape.name} has {have} partitions, this node is set to "
                f"{shape.partitions}; set REWINDOW_PARTITIONS={have}, or bring the log into a new "
                f"one with {shape.partitions} by `rewindow replay`"
            )
        for name in _CHECKED_CONFIG:
            want = shape.config.get(name)
            value = configs[shape.name][name].value
            if want is not None and value != want:
                raise _misconfigured(shape.name, f"{name}={value}", want, _CURES.get(name, ""))
        want, value = shape.config[_SIZE_CONFIG], configs[shape.name][_SIZE_CONFIG].value
        if int(value) < int(want):
            raise _misconfigured(shape.name, f"{_SIZE_CONFIG}={value}", f"at least {want}")


def _misconfigured(topic: str, found: str, want: str, cure: str = "") -> TopicsUnfit:
    return TopicsUnfit(
        f"topic {topic} has {found}, Rewindow needs {want}; {cure}"
        f"alter the topic's config, or choose another REWINDOW_PREFIX"
    )

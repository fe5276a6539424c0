"""The topics: their names, their shapes, and what they must never be. Plain data, no client."""

from typing import Final

from msgspec import Struct

from schemas.limits import LOG_RECORD_BYTES_MAX, RECORD_BYTES_MAX

PARTITIONER: Final = "murmur2_random"
"""librdkafka's name for the Java client's default partitioner: every writer of the log uses it."""

HEADER_REASON: Final = "reason"
HEADER_TOPIC: Final = "topic"
HEADER_PARTITION: Final = "partition"
HEADER_OFFSET: Final = "offset"

HEADER_ORIGIN: Final = "origin"
"""On a record that a replay wrote: the source, a partition and an offset, with slashes between."""

DAY_MS: Final = 86_400_000


class Topics(Struct, frozen=True):
    """The names that belong to one deployment, all behind one `prefix`."""

    prefix: str = "rewindow"

    @property
    def log(self) -> str:
        """What was said and asked; the one source of truth."""
        return f"{self.prefix}.log"

    @property
    def facts(self) -> str:
        """What came of it, in order per context."""
        return f"{self.prefix}.facts"

    @property
    def dead(self) -> str:
        """Records that could not be understood."""
        return f"{self.prefix}.dead"

    def changelog(self, table: str) -> str:
        """The name that Faust gives to a table's changelog, `<app id>-<table>-changelog`."""
        return f"{self.prefix}-{table}-changelog"


WINDOWS: Final = "windows"
TAILS: Final = "tails"


class TopicShape(Struct, frozen=True):
    """How one topic has to look on the broker."""

    name: str
    partitions: int
    config: dict[str, str]


def topic_shapes(
    topics: Topics,
    partitions: int,
    *,
    log_retention_ms: int = -1,
    facts_retention_ms: int = 7 * DAY_MS,
) -> tuple[TopicShape, ...]:
    """Every topic of a deployment. Retention in milliseconds, -1 for ever.

    The log keeps the broker's time of arrival (`LogAppendTime`): the only clock of the fold.
    """
    size = {"max.message.bytes": str(RECORD_BYTES_MAX)}
    keep = {"cleanup.policy": "delete"}
    table = {**size, "cleanup.policy": "compact"}
    return (
        TopicShape(
            topics.log,
            partitions,
            keep
            | {
                "max.message.bytes": str(LOG_RECORD_BYTES_MAX),
                "retention.ms": str(log_retention_ms),
                "message.timestamp.type": "LogAppendTime",
            },
        ),
        TopicShape(
            topics.facts, partitions, size | keep | {"retention.ms": str(facts_retention_ms)}
        ),
        TopicShape(topics.dead, partitions, size | keep | {"retention.ms": str(30 * DAY_MS)}),
        TopicShape(topics.changelog(WINDOWS), partitions, table),
        TopicShape(topics.changelog(TAILS), partitions, table),
    )

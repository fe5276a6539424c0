"""What the topics of a deployment take on the broker's disk."""

from pathlib import Path
from typing import Final

from schemas.topics import TAILS, WINDOWS, Topics

KAFKAS_OWN: Final = "Kafka's own"
"""The states of transactions and the offsets of groups."""


def bytes_of_topics(data: Path, prefix: str) -> dict[str, int]:
    """The log files below a broker's data, by topic, in one copy each; indices don't count."""
    topics = Topics(prefix)
    names = {
        topics.log: "log",
        topics.facts: "facts",
        topics.changelog(TAILS): "tails",
        topics.changelog(WINDOWS): "windows",
        "__transaction_state": KAFKAS_OWN,
        "__consumer_offsets": KAFKAS_OWN,
    }
    sizes = dict.fromkeys(names.values(), 0)
    for file in data.glob("*/*.log"):
        topic = file.parent.name.rpartition("-")[0]
        if topic in names:
            sizes[names[topic]] += file.stat().st_size
    return sizes

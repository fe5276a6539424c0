"""The AsyncAPI document of the topics: what lies in them, under which keys, and who writes it."""

from collections.abc import Iterable
from typing import Any, Final

from schemas.codec import CONTENT_TYPE
from schemas.events import EVENT_TYPES
from schemas.facts import FACT_TYPES
from schemas.json_schema import CONTEXT_ID, Json
from schemas.topics import (
    HEADER_OFFSET,
    HEADER_PARTITION,
    HEADER_REASON,
    HEADER_TOPIC,
    PARTITIONER,
    TAILS,
    WINDOWS,
    Topics,
    TopicShape,
    topic_shapes,
)

PARTITIONS_DEFAULT: Final = 4
BINDING: Final = "0.5.0"
TOPICS: Final = Topics()

_INFO: Final[Json] = {
    "title": "Rewindow's topics",
    "version": "1.0.0",
    "description": "Every record of the log and of the facts is a CloudEvent 1.0 in structured "
    "JSON mode. The names begin with the deployment's prefix, `rewindow` by default.",
    "license": {"name": "Apache-2.0"},
}
_KEY: Final[Json] = {
    **CONTEXT_ID,
    "description": "the context id, in UTF-8, as in `subject`; the partition is chosen by murmur2, "
    f"as the Java client does by default (librdkafka: partitioner={PARTITIONER})",
}
_DEAD_HEADERS: Final[Json] = {
    "type": "object",
    "properties": {
        HEADER_REASON: {"type": "string", "description": "why it can't be understood, in a line"},
        HEADER_TOPIC: {"type": "string", "description": "where it was"},
        HEADER_PARTITION: {"type": "string", "pattern": "^[0-9]+$"},
        HEADER_OFFSET: {"type": "string", "pattern": "^[0-9]+$"},
    },
    "required": [HEADER_REASON, HEADER_TOPIC, HEADER_PARTITION, HEADER_OFFSET],
}


def asyncapi(records: dict[str, Json]) -> Json:
    """`records`: the schema of every event and fact, by the name of its type."""
    shapes = {shape.name: shape for shape in topic_shapes(TOPICS, PARTITIONS_DEFAULT)}
    return {
        "asyncapi": "3.0.0",
        "info": _INFO,
        "defaultContentType": CONTENT_TYPE,
        "servers": {"kafka": {"host": "127.0.0.1:9092", "protocol": "kafka"}},
        "channels": {
            "log": _channel(
                shapes[TOPICS.log],
                "What was said and asked: the one source of truth. Anyone may write to it.",
                EVENT_TYPES,
            ),
            "facts": _channel(
                shapes[TOPICS.facts],
                "What came of it, in order per context. Read committed records only; deliveries "
                "may repeat, and (subject, version, type) tells a fact, with the seq for messages.",
                FACT_TYPES,
            ),
            "dead": _channel(
                shapes[TOPICS.dead],
                "Records that could not be understood, as they were.",
                ("dead",),
            ),
            "tables": _tables(shapes[TOPICS.changelog(WINDOWS)]),
        },
        "operations": {
            "readLog": _operation("receive", "log", "Nodes fold every event, in order."),
            "tellFacts": _operation("send", "facts", "One transaction with the tables."),
            "bury": _operation("send", "dead", "A bad record never stops a partition."),
        },
        "components": {
            "messages": {name: _message(schema) for name, schema in records.items()}
            | {"dead": _dead()}
        },
    }


def _channel(shape: TopicShape, description: str, messages: Iterable[str]) -> Json:
    return {
        "address": shape.name,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": _binding(shape)},
    }


def _tables(shape: TopicShape) -> Json:
    return {
        "address": TOPICS.changelog("{table}"),
        "description": "What nodes restore their tables from. No contract: what lies in them may "
        "change with every version.",
        "parameters": {"table": {"enum": [WINDOWS, TAILS]}},
        "bindings": {"kafka": _binding(shape)},
    }


def _binding(shape: TopicShape) -> Json:
    known: dict[str, Any] = {
        "cleanup.policy": [shape.config["cleanup.policy"]],
        "max.message.bytes": int(shape.config["max.message.bytes"]),
    }
    if (kept := shape.config.get("retention.ms")) is not None:
        known["retention.ms"] = int(kept)
    return {
        "partitions": shape.partitions,
        "topicConfiguration": known,
        "bindingVersion": BINDING,
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(schema: Json) -> Json:
    return {
        "name": schema["title"],
        "summary": schema["description"],
        "payload": {"$ref": f"./json/{schema['title']}.schema.json"},
        "bindings": {"kafka": {"key": _KEY, "bindingVersion": BINDING}},
    }


def _dead() -> Json:
    return {
        "name": "dead",
        "summary": "The bytes and the key of the record, whatever they are",
        "contentType": "application/octet-stream",
        "headers": _DEAD_HEADERS,
        "bindings": {"kafka": {"bindingVersion": BINDING}},
    }

"""Straight to the log, without a node in between: what a bulk load takes."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from rewindow_client.batches import batches, encoded
from rewindow_client.calls import new_key
from rewindow_client.errors import NotWritten
from rewindow_client.shapes import AnyMessage, Json

if TYPE_CHECKING:
    from confluent_kafka import Message, Producer

EVENT_BYTES: Final = 256 << 10
"""An event with several messages is no larger than about this: a producer takes records of 1 MB,
unless it is told otherwise."""
POLL_S: Final = 0.1


def append_all(
    context_id: str,
    messages: Iterable[AnyMessage],
    *,
    producer: "Producer",
    topic: str = "rewindow.log",
    source: str = "/rewindow-client",
    key: str | None = None,
    create: bool = True,
    timeout: float = 60.0,
) -> int:
    """Write messages to the log as events, in order, and wait until the brokers have them all; how
    many events that took. What came of them is in `rewindow.facts`.

    Each event holds up to 100 messages, which are appended all or nothing. `key`: what the events'
    ids begin with; written again under the same key, the same messages count once. `create`: make
    the context where there is none. `timeout` in seconds.

    The producer is one of confluent-kafka. Its own partitioner is not asked: a context lies in the
    partition that Java's gives it, wherever librdkafka's default would put it. Set
    `enable.idempotence`, which keeps the order when the line is cut. Raises `NotWritten`.
    """
    partition = _murmur2(context_id.encode()) % _partitions(producer, topic, timeout)
    prefix = key or new_key()
    written: list[Message] = []
    failures: list[str] = []

    def delivered(error: Any, record: "Message") -> None:
        if error is None:
            written.append(record)
        else:
            failures.append(error.str())

    deadline = time.monotonic() + timeout
    events = 0
    for events, batch in enumerate(batches(messages, EVENT_BYTES), 1):
        data = {"messages": batch} if create else {"messages": batch, "create": False}
        value = _event(f"{prefix}/{events}", context_id, source, data)
        record = (topic, value, context_id.encode(), partition)
        failures += _produce(producer, record, delivered, deadline)
        if failures:
            break
    producer.flush(max(0.0, deadline - time.monotonic()))
    if failures or len(written) < events:
        reason = failures[0] if failures else f"the brokers did not take them in {timeout:g} s"
        raise NotWritten(
            f"{len(written)} events were written to {topic}, and then no more: {reason}; write all "
            f"of them again under the key {prefix!r}, and those that are there count once",
            len(written),
        )
    return events


def _partitions(producer: "Producer", topic: str, timeout: float) -> int:
    from confluent_kafka import KafkaException

    try:
        found = producer.list_topics(topic, timeout).topics[topic]
    except KafkaException as exc:
        raise NotWritten(f"no broker answers: {exc.args[0].str()}", 0) from None
    if found.error is not None:
        raise NotWritten(f"{topic} can't be written: {found.error.str()}", 0)
    return len(found.partitions)


def _produce(
    producer: "Producer", record: tuple[str, bytes, bytes, int], delivered: Any, deadline: float
) -> list[str]:
    """Hand a record over as soon as the producer has room; why that can't be, if so."""
    from confluent_kafka import KafkaException

    while True:
        try:
            producer.produce(*record, on_delivery=delivered)
        except BufferError:
            if time.monotonic() > deadline:
                return ["the producer had no room in time"]
            producer.poll(POLL_S)
        except KafkaException as exc:
            return [exc.args[0].str()]
        else:
            producer.poll(0)
            return []


def _event(event_id: str, context_id: str, source: str, data: Json) -> bytes:
    """A CloudEvent, as every record of the log is one."""
    return encoded(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": "message.appended.v1",
            "subject": context_id,
            "data": data,
        }
    )


def _murmur2(key: bytes) -> int:
    """The hash by which Java's client, and `murmur2_random` of librdkafka, choose a partition: 31
    bits."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        value = (value * factor & mask) ^ word
    if rest := key[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & mask
    value = (value ^ value >> 13) * factor & mask
    return (value ^ value >> 15) & 0x7FFFFFFF

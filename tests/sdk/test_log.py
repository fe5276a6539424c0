"""Straight to the log: it comes to the same as over HTTP, wherever librdkafka would put it."""

import pytest
from confluent_kafka import Producer
from hypothesis import example, given
from hypothesis import strategies as st

from rewindow_client import Context, NotWritten, Rewindow, append_all, text
from rewindow_client.log import _murmur2
from tests.support.live_node import LiveNode
from tests.support.wait import until

MANY = 350


@pytest.fixture
def log(node: LiveNode) -> str:
    return f"{node.told['prefix']}.log"


@pytest.fixture
def producer(node: LiveNode) -> Producer:
    """With librdkafka's own partitioner, which is another than Java's."""
    return Producer({"bootstrap.servers": node.told["kafka"], "enable.idempotence": True})


def came(context: Context, count: int) -> list[str]:
    """What was said, once so much of it is folded."""
    until(lambda: context.tail(1) and context.state().last_seq >= count, f"{count} messages")
    return [message.text for message in context.replay()]


def test_it_all_comes_in_order_and_once(
    node: LiveNode, producer: Producer, log: str, name: str
) -> None:
    said = [f"message {number}" for number in range(MANY)]
    with Rewindow(node.url) as client:
        context = client.context(name)
        context.configure(token_budget=1_000_000)
        for _again in range(2):
            messages = (text("user", one) for one in said)
            events = append_all(name, messages, producer=producer, topic=log, key="load")
            assert events == 4, "a hundred in each"
        context.append(text("assistant", "Done."))
        assert came(context, MANY + 1) == [*said, "Done."], "also with what comes over HTTP"


@pytest.mark.parametrize("number", range(4))
def test_a_context_is_made_where_its_events_are(
    node: LiveNode, producer: Producer, log: str, name: str, number: int
) -> None:
    """In whichever partition: the node finds what was written there."""
    own = f"{name} {number} {'ä' * number}"
    assert append_all(own, [text("user", "One")], producer=producer, topic=log) == 1
    with Rewindow(node.url) as client:
        context = client.context(own)
        until(lambda: own in [state.id for state in client.contexts(own)], "it is there")
        assert came(context, 1) == ["One"]


def test_large_messages_go_in_events_that_a_producer_takes(
    node: LiveNode, producer: Producer, log: str, name: str
) -> None:
    said = [f"{number} {'x' * 200_000}" for number in range(5)]
    messages = [text("user", one) for one in said]
    assert append_all(name, messages, producer=producer, topic=log) == 5
    with Rewindow(node.url) as client:
        until(lambda: name in [state.id for state in client.contexts(name)], "it is there")
        assert came(client.context(name), 5) == said


def test_what_can_not_be_written_is_said(producer: Producer, log: str, name: str) -> None:
    with pytest.raises(NotWritten, match=r"none\.log can't be written"):
        append_all(name, [text("user", "One")], producer=producer, topic="none.log")
    huge = [text("user", "One"), text("user", "x" * 2_000_000)]
    with pytest.raises(
        NotWritten, match=r"1 events were written .* under the key 'mine'"
    ) as raised:
        append_all(name, huge, producer=producer, topic=log, key="mine")
    assert raised.value.written == 1
    away = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    with pytest.raises(NotWritten, match="no broker answers"):
        append_all(name, huge, producer=away, topic=log, timeout=0.5)


@given(st.binary(max_size=64))
@example(b"")
@example("sdk ü?%".encode())
def test_the_partition_is_javas(key: bytes) -> None:
    """Kafka's own `Utils.murmur2`, as aiokafka has it for its default partitioner."""
    from aiokafka.partitioner import murmur2

    assert _murmur2(key) == murmur2(key) & 0x7FFFFFFF

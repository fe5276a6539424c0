"""Events reach the log under the partition that every Kafka client takes, or the asker is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from schemas.codec import decode_event
from streams import log_writer
from streams.log_writer import LogWriter, partition_of
from streams.store import Unavailable
from streams.tables.record import Record
from tests.support.deployment import Deployment
from tests.support.fold import append, message, messages, part
from tests.support.wait import until_async

NO_BROKER = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


@pytest.fixture
def written() -> list[Record]:
    """What the writer told of."""
    return []


@pytest_asyncio.fixture
async def writer(deployment: Deployment, written: list[Record]) -> AsyncIterator[LogWriter]:
    writer = LogWriter(
        deployment.kafka, deployment.topics.log, timeout_s=10, on_written=written.extend
    )
    yield writer
    await asyncio.to_thread(writer.close)


def nothing(records: Sequence[Record]) -> None:
    raise AssertionError(f"nothing was written, least of all {records}")


def never() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def test_an_event_lies_in_the_log_as_it_was(
    writer: LogWriter, deployment: Deployment
) -> None:
    event, waiting = append(context="ü ?"), never()
    writer.write(event, 0, waiting)
    await asyncio.to_thread(writer.close)
    (record,) = deployment.read(deployment.topics.log)
    assert decode_event(record.key(), record.value()) == event
    assert not waiting.done(), "that it arrived shows in the fold's answer"


async def test_what_is_written_is_told_of_as_every_reader_gets_it(
    writer: LogWriter, deployment: Deployment, written: list[Record]
) -> None:
    """Where it lies and when the broker took it too: the fold goes by both."""
    for number in range(30):
        writer.write(append(*messages(number)), 0, never())

    async def told() -> bool:
        return len(written) == 30

    await until_async(told, "all is told of")
    assert written == [
        Record(
            0,
            found.offset(),
            found.timestamp()[1],
            found.key(),
            found.value(),
            decode_event(found.key(), found.value()),
        )
        for found in deployment.read(deployment.topics.log)
    ]


async def test_what_waited_behind_one_that_never_arrived_is_told_of_too() -> None:
    writer = LogWriter(NO_BROKER, "log", timeout_s=0.2, on_written=nothing)
    first, second = never(), never()
    for future in (first, second):
        writer.write(append(), 0, future)
    with pytest.raises(Unavailable, match="did not take the event"):
        await first
    with pytest.raises(Unavailable, match="was not written"):
        await second
    await asyncio.to_thread(writer.close)


async def test_the_largest_request_fits(writer: LogWriter, deployment: Deployment) -> None:
    event = append(*(message(part(text="ü" * 520_000)) for _ in range(4)))
    writer.write(event, 0, never())
    await asyncio.to_thread(writer.close)
    (record,) = deployment.read(deployment.topics.log)
    assert decode_event(record.key(), record.value()) == event


def test_the_partition_of_a_context_is_the_one_that_kafka_clients_take(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, prefix, tmp_path, partitions=7).prepare()
    names = [f"context-{n}" for n in range(60)] + ["ü", "a b", "日本", "x" * 512]
    deployment.write(*(append(context=name) for name in names))
    found = {
        record.key().decode(): partition
        for partition in range(7)
        for record in deployment.read(deployment.topics.log, partition)
    }
    assert found == {name: partition_of(name, 7) for name in names}
    assert set(found.values()) == set(range(7))


async def test_an_event_that_does_not_arrive_is_told_of() -> None:
    writer = LogWriter(NO_BROKER, "log", timeout_s=0.2, on_written=nothing)
    waiting = never()
    writer.write(append(), 0, waiting)
    with pytest.raises(Unavailable, match=r"did not take the event .* again with the same key"):
        await waiting
    await asyncio.to_thread(writer.close)


async def test_nobody_waits_any_more_when_it_does_not_arrive() -> None:
    writer = LogWriter(NO_BROKER, "log", timeout_s=0.2, on_written=nothing)
    gone, waiting = never(), never()
    gone.cancel()
    for future in (gone, waiting):
        writer.write(append(), 0, future)
    with pytest.raises(Unavailable):
        await waiting
    await asyncio.to_thread(writer.close)


async def test_more_than_may_wait_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "QUEUED_RECORDS_MAX", 1)
    writer = LogWriter(NO_BROKER, "log", timeout_s=0.2, on_written=nothing)
    waiting = never()
    writer.write(append(), 0, waiting)
    with pytest.raises(Unavailable, match="too many writes wait for the broker"):
        writer.write(append(), 0, never())
    with pytest.raises(Unavailable):
        await waiting
    await asyncio.to_thread(writer.close)

"""The log, read beside Faust: every committed record, and proof that there is nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from streams.tables import source as sources
from streams.tables.source import FAILURES_MAX, Source, bounds_of
from tests.support.deployment import Deployment
from tests.support.fold import append


@pytest.fixture
def source(deployment: Deployment) -> Iterator[Source]:
    source = Source(deployment.kafka, deployment.topics.log)
    yield source
    source.close()


def test_an_empty_log_starts_where_it_ends(source: Source) -> None:
    assert source.bounds(0) == (0, 0)
    assert source.visible(0, 0, 0) == ([], 0, 0)


def test_records_come_whole_and_in_order(source: Source, deployment: Deployment) -> None:
    deployment.write_bytes((b"k", b"v"), (None, b""), ("ü".encode(), None))
    assert source.bounds(0) == (0, 3)
    records, reached, _ = source.visible(0, 0, 3)
    assert reached == 3
    assert [(r.offset, r.key, r.value) for r in records] == [
        (0, b"k", b"v"),
        (1, None, b""),
        (2, "ü".encode(), None),
    ]
    written = [message.timestamp()[1] for message in deployment.read(deployment.topics.log)]
    assert [r.timestamp_ms for r in records] == written
    assert {r.partition for r in records} == {0}

    assert [r.offset for r in source.visible(0, 1, 2).records] == [1]


def test_a_topic_that_the_broker_does_not_know_yet_is_waited_for(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """As one that has just come back does not, for a moment."""
    deployment = Deployment(kafka, prefix, tmp_path, partitions=1)
    source = Source(deployment.kafka, deployment.topics.log)
    with ThreadPoolExecutor(1) as pool:
        bounds = pool.submit(source.bounds, 0)
        with pytest.raises(TimeoutError):
            bounds.result(0.5)
        deployment.prepare()
        assert bounds.result() == (0, 0)
    source.close()


def test_aborted_records_and_markers_are_passed_over(
    source: Source, deployment: Deployment
) -> None:
    stranger = deployment.transactional()
    for commit in (False, True, False):
        deployment.transact(stranger, append(), append(), commit=commit)
    deployment.write_bytes((b"k", b"last"))
    # 0-1 aborted, 2 marker, 3-4 committed, 5 marker, 6-7 aborted, 8 marker, 9
    records, reached, _ = source.visible(0, 0, 10)
    assert [r.offset for r in records] == [3, 4, 9]
    assert reached == 10
    assert source.visible(0, 5, 9) == ([], 9, 0)


def test_a_transaction_that_is_open_ends_what_can_be_read(
    source: Source, deployment: Deployment
) -> None:
    deployment.write_bytes((b"k", b"before"))
    stranger = deployment.transactional()
    stranger.begin_transaction()
    stranger.produce(deployment.topics.log, b"v", b"k", 0)
    stranger.flush()
    deployment.write_bytes((b"k", b"behind"))
    assert source.bounds(0) == (0, 1)
    records, reached, _ = source.visible(0, 0, 3)
    assert ([r.value for r in records], reached) == ([b"before"], 1)
    stranger.abort_transaction()
    assert [r.value for r in source.visible(0, 1, 4).records] == [b"behind"]


def test_a_long_stretch_is_read_piece_by_piece(
    source: Source, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "RECORDS_PER_READ", 100)
    deployment.write_bytes(*((b"k", b"%d" % n) for n in range(250)))
    found: list[bytes | None] = []
    at = pieces = 0
    while at < 250:
        records, at, _ = source.visible(0, at, 250)
        found += [r.value for r in records]
        pieces += 1
    assert found == [b"%d" % n for n in range(250)]
    assert pieces == 3


def test_large_records_come_in_smaller_pieces(
    source: Source, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read at once has to fit into memory."""
    monkeypatch.setattr(sources, "RECORDS_PER_READ", 10)
    monkeypatch.setattr(sources, "BYTES_PER_READ", 1_000_000)
    deployment.write_bytes(*((b"k", bytes(500_000)) for _ in range(40)))
    at, sizes = 0, []
    while at < 40:
        records, at, _ = source.visible(0, at, 40)
        sizes.append(len(records))
    assert sum(sizes) == 40
    assert max(sizes) < 40


def test_what_retention_took_is_passed_over(source: Source, deployment: Deployment) -> None:
    deployment.write_bytes(*((b"k", b"%d" % n) for n in range(5)))
    deployment.delete_before(deployment.topics.log, 3)
    assert source.bounds(0) == (3, 5)
    records, reached, kept_from = source.visible(0, 0, 5)
    assert ([r.offset for r in records], reached, kept_from) == ([3, 4], 5, 3)


def test_a_broker_that_says_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SILENCE_READS", 3)
    source = Source({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "log")
    try:
        with pytest.raises(KafkaException):
            source.bounds(0, timeout_s=0.2)
        with pytest.raises(KafkaException, match="log is silent"):
            source.visible(0, 0, 1)
    finally:
        source.close()


class _Moving(Consumer):
    """Its partition has no leader yet when it is asked for the first time."""

    asked = 0

    def get_watermark_offsets(self, *args: Any, **more: Any) -> Any:
        self.asked += 1
        if self.asked == 1:
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
        return super().get_watermark_offsets(*args, **more)


def test_a_leader_that_is_not_there_yet_is_waited_for(deployment: Deployment) -> None:
    deployment.write_bytes((b"k", b"v"))
    consumer = _Moving({**deployment.kafka, "group.id": "moving"})
    try:
        assert bounds_of(consumer, deployment.topics.log, 0, timeout_s=10) == (0, 1)
        assert consumer.asked == 2
        consumer.asked = 0
        with pytest.raises(KafkaException, match="NOT_LEADER"):
            bounds_of(consumer, deployment.topics.log, 0, timeout_s=-1)
    finally:
        consumer.close()


def test_a_client_that_hears_nothing_any_more_is_replaced(source: Source) -> None:
    expected = source.bounds(0)
    deaf = Consumer({"group.id": "deaf", "bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    source._consumer = deaf
    for _ in range(FAILURES_MAX):
        with pytest.raises(KafkaException):
            source.bounds(0, timeout_s=0.2)
    assert source.bounds(0) == expected

"""`rewindow up` with several brokers and several nodes."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.support.processes import family, gone
from tests.support.running_up import RunningUp
from tests.support.wait import until

SEVERAL = {"REWINDOW_NODES": "2", "REWINDOW_BROKERS": "3", "REWINDOW_NO_POSTGRES": "1"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    running = RunningUp(tmp_path_factory.mktemp("cluster") / "data", **SEVERAL)
    try:
        assert running.first_line() == f"ready {running.url}\n", running.log.read_text()
        yield running
    finally:
        running.discard()


def test_every_node_and_every_broker_can_be_found(up: RunningUp) -> None:
    endpoints = up.endpoints()
    assert endpoints["http"] == [up.url, f"http://127.0.0.1:{up.port + 1}"]
    assert [node["url"] for node in endpoints["nodes"]] == endpoints["http"]
    assert ",".join(one["address"] for one in endpoints["brokers"]) == endpoints["kafka"]
    assert len(endpoints["brokers"]) == 3
    told = up.told()
    assert told["REWINDOW_KAFKA"] == endpoints["kafka"]
    assert told["REWINDOW_REPLICATION"] == "3"
    assert "REWINDOW_POSTGRES" not in told


def test_one_broker_of_three_may_go(up: RunningUp) -> None:
    """What is written with all in-sync replicas is written while one is away, and it comes back."""
    endpoints = up.endpoints()
    admin = AdminClient({"bootstrap.servers": endpoints["kafka"]})
    topic = NewTopic("kept", num_partitions=3, replication_factor=3)
    admin.create_topics([topic])["kept"].result(30)
    producer = Producer({"bootstrap.servers": endpoints["kafka"], "acks": "all"})
    failures: list[object] = []

    def write() -> None:
        for partition in range(3):
            producer.produce("kept", b"x", partition=partition, callback=note)
        assert producer.flush(60) == 0

    def note(error: object, _message: object) -> None:
        if error is not None:
            failures.append(error)

    write()
    victim = endpoints["brokers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    write()
    assert failures == []
    until(lambda: up.endpoints()["brokers"][0]["pid"] != victim, "it is started again")

    def in_sync() -> bool:
        partitions = admin.list_topics("kept", timeout=30).topics["kept"].partitions
        return all(len(partition.isrs) == 3 for partition in partitions.values())

    until(lambda: not in_sync(), "it is missed")
    until(in_sync, "it has what was written meanwhile", deadline_s=60)


def test_it_stops_with_all_of_them_and_remembers_how_many_brokers_there_were(
    up: RunningUp,
) -> None:
    children = family(up.process.pid)
    assert up.end(signal.SIGTERM) == 0, up.log.read_text()
    assert [pid for pid in children if not gone(pid)] == []
    fewer = RunningUp(up.data, REWINDOW_NO_POSTGRES="1")
    try:
        assert fewer.process.wait(60) == 1
        said = fewer.log.read_text().splitlines()[-1]
        assert "are of 3 brokers, not of 1; start with --brokers 3" in said
    finally:
        fewer.discard()


def test_the_ports_of_all_nodes_have_to_be_free(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        up = RunningUp(tmp_path / "data", REWINDOW_NODES="2", REWINDOW_PORT=str(port - 1))
        try:
            assert up.process.wait(30) == 1
            assert f"port {port} is taken" in up.log.read_text()
        finally:
            up.discard()

"""`rewindow up` as a process of its own: what it starts, watches over, and takes with it."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from rewindow.up import PAUSE_LAST_S, _pause_s
from tests.support.processes import family, gone, made_by
from tests.support.running_up import RunningUp
from tests.support.wait import until

Begin = Callable[..., RunningUp]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """One that is ready, for all tests that leave it so."""
    running = RunningUp(tmp_path_factory.mktemp("up") / "data", REWINDOW_TAIL_KEEP="7")
    try:
        assert running.first_line() == f"ready {running.url}\n", running.log.read_text()
        yield running
    finally:
        running.discard()


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins others, which are gone after the test."""
    begun: list[RunningUp] = []

    def begin(data: Path, **more: str) -> RunningUp:
        begun.append(RunningUp(data, **more))
        return begun[-1]

    yield begin
    for one in begun:
        one.discard()


def topics(address: str) -> set[str]:
    return set(
        AdminClient({"bootstrap.servers": address, "reconnect.backoff.max.ms": 200})
        .list_topics(timeout=30)
        .topics
    )


def create(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address, "reconnect.backoff.max.ms": 200})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)


def test_endpoints_say_where_everything_is(up: RunningUp) -> None:
    endpoints = up.endpoints()
    assert endpoints["http"] == [up.url]
    assert [node["url"] for node in endpoints["nodes"]] == [up.url]
    assert [broker["address"] for broker in endpoints["brokers"]] == [endpoints["kafka"]]
    assert set(endpoints) == {"http", "kafka", "postgres", "nodes", "brokers"}
    names = family(up.process.pid)
    assert names[up.broker_pid()] == "java"
    assert up.node_pid() in names
    with psycopg.connect(endpoints["postgres"]) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert (up.data / "endpoints.json").stat().st_mode & 0o777 == 0o600


def test_the_node_is_told_all_it_needs(up: RunningUp) -> None:
    endpoints = up.endpoints()
    told = up.told()
    assert told["REWINDOW_KAFKA"] == endpoints["kafka"]
    assert told["REWINDOW_POSTGRES"] == endpoints["postgres"]
    assert told["REWINDOW_DATA"] == str(up.data / "node-1")
    assert told["REWINDOW_HOST"] == "127.0.0.1"
    assert told["REWINDOW_PORT"] == str(up.port)
    assert told["REWINDOW_URL"] == up.url
    assert told["REWINDOW_NODE_ID"] == "node-1"
    assert told["REWINDOW_PARTITIONS"] == "4"
    assert told["REWINDOW_TAIL_KEEP"] == "7", "what else we were told goes through"


def test_a_node_that_dies_is_started_again_on_its_port(up: RunningUp) -> None:
    before = up.node_pid()
    os.kill(before, signal.SIGKILL)
    until(lambda: up.node_pid() != before, "endpoints.json names the new process")
    assert up.told()["REWINDOW_PORT"] == str(up.port)
    assert f"node-1 (pid {before}) ended with status -9 and is started again" in up.log.read_text()


def test_a_broker_that_dies_comes_back_with_its_data(up: RunningUp) -> None:
    address, before = up.endpoints()["kafka"], up.broker_pid()
    create(address, "kept")
    os.kill(before, signal.SIGKILL)
    until(lambda: up.broker_pid() != before, "endpoints.json names the new process")
    assert up.endpoints()["kafka"] == address
    assert "kept" in topics(address)


def test_a_postgres_that_dies_comes_back_with_its_rows(up: RunningUp) -> None:
    url = up.endpoints()["postgres"]
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select 42 as n")
    (server,) = made_by(up.process.pid, "postgres")
    os.kill(server, signal.SIGKILL)
    until(lambda: gone(server), "it is dead")

    def rows() -> Any:
        try:
            with psycopg.connect(url) as connection:
                return connection.execute("select n from kept").fetchone()
        except psycopg.OperationalError:
            return None

    assert until(rows, "Postgres answers again") == (42,)


def test_a_second_one_over_the_same_folder_says_who_has_it(up: RunningUp, begin: Begin) -> None:
    second = begin(up.data)
    assert second.first_line() == ""
    assert second.process.wait(30) == 1
    said = second.log.read_text()
    assert said.startswith(
        f"rewindow: another process (pid {up.process.pid}) holds the data folder"
    )
    assert said.count("\n") == 1
    assert up.endpoints()["http"] == [up.url], "the first one's file is left alone"


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path, begin: Begin) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        second = begin(tmp_path / "data", REWINDOW_PORT=str(port))
        assert second.process.wait(30) == 1
    assert second.log.read_text() == (
        f"rewindow: port {port} is taken; free it, or choose another one with --port\n"
    )
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lock"]


def test_a_node_that_can_not_start_is_said_in_its_own_words(tmp_path: Path, begin: Begin) -> None:
    up = begin(tmp_path / "data", REWINDOW_NO_POSTGRES="1", REWINDOW_STAND_IN="refuse")
    assert up.first_line() == ""
    assert up.process.wait(60) == 1
    last = up.log.read_text().splitlines()[-1]
    assert last.startswith(
        "rewindow: the node ended while it started: the stand-in refuses to start (its whole log is"
    )
    assert (up.data / "logs" / "node-1.log").read_text().count("refuses") == 3
    assert not (up.data / "endpoints.json").exists()
    assert not (up.data / "postgres").exists()


@pytest.mark.parametrize("started", ["nothing", "Kafka's folder", "Postgres"])
def test_it_can_be_stopped_while_it_starts(tmp_path: Path, begin: Begin, started: str) -> None:
    up = begin(tmp_path / "data")
    sign = {
        "nothing": tmp_path / "data" / "lock",
        "Kafka's folder": tmp_path / "data" / "logs" / "kafka.log",
        "Postgres": tmp_path / "data" / "postgres" / "data" / "postmaster.pid",
    }[started]
    until(sign.exists, f"there is {sign}")
    children = family(up.process.pid)
    # It takes signals from the moment that it starts something.
    status = up.end(signal.SIGTERM)
    assert status in ((0, -signal.SIGTERM) if started == "nothing" else (0,)), up.log.read_text()
    assert up.first_line() == ""
    until(lambda: all(map(gone, children)), "nothing is left")


def test_it_stops_cleanly_however_impatient_one_is(up: RunningUp) -> None:
    children = family(up.process.pid)
    assert len(children) > 3
    assert up.end(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT) == 0
    assert [pid for pid in children if not gone(pid)] == []
    assert not (up.data / "endpoints.json").exists()
    assert "Traceback" not in up.log.read_text()


def test_started_again_it_has_its_data_and_killed_it_leaves_nothing(
    up: RunningUp, begin: Begin
) -> None:
    assert up.process.wait(30) == 0, "the test above has stopped it"
    again = begin(up.data)
    assert again.first_line() == f"ready {again.url}\n", again.log.read_text()
    endpoints = again.endpoints()
    assert "kept" in topics(endpoints["kafka"])
    with psycopg.connect(endpoints["postgres"]) as connection:
        assert connection.execute("select n from kept").fetchone() == (42,)
    children = family(again.process.pid)
    again.end(signal.SIGKILL)
    until(lambda: all(map(gone, children)), "nothing is left")
    assert (up.data / "endpoints.json").exists(), "nobody was there to take it away"


def test_pauses_grow_only_with_deaths_in_a_row() -> None:
    pauses = [_pause_s(deaths) for deaths in range(1, 12)]
    assert pauses[:4] == [0.0, 0.5, 1.0, 2.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_LAST_S

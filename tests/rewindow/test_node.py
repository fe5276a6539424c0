"""`rewindow node` as a process: why it does not start, and how it ends."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGTERM

import httpx
import pytest

from rewindow.embedded.ports import free_port
from rewindow.errors import CannotStart
from rewindow.node import EXPELLED, run_node
from rewindow.settings import NodeSettings, read_settings
from tests.support.contexts import said, texts
from tests.support.live_node import LiveNode, live_node
from tests.support.wait import until

Begin = Callable[..., LiveNode]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[LiveNode]:
    """One that is ready, for all tests that leave it so."""
    with live_node(tmp_path_factory.mktemp("node"), kafka, None) as node:
        yield node


@pytest.fixture
def begin(tmp_path: Path, kafka: str) -> Iterator[Begin]:
    """Begins others, which are gone after the test."""
    begun: list[LiveNode] = []

    def begin(folder: Path = tmp_path, **told: str) -> LiveNode:
        begun.append(LiveNode(folder, told.pop("kafka", kafka), told.pop("postgres", None), **told))
        begun[-1].start()
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()


def refuses(node: LiveNode) -> str:
    """What a node says that does not start: one sentence, and nothing of our insides."""
    assert node.wait_ended() == 1
    assert "Traceback" not in node.said()
    sentence = node.said().splitlines()[-1]
    assert sentence.startswith("rewindow: ")
    return sentence.removeprefix("rewindow: ")


def test_without_a_broker_it_gives_up_after_its_patience(begin: Begin) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    assert refuses(begin(kafka=nobody, broker_patience_s="0.5")) == (
        f"no broker at {nobody} answered within 0.5 s; start it, or set REWINDOW_KAFKA to where it "
        "is"
    )


def test_it_can_be_stopped_while_it_waits_for_the_broker(begin: Begin) -> None:
    node = begin(kafka=f"127.0.0.1:{free_port()}")
    until(lambda: "waiting for the broker" in node.said(), "it waits")
    assert node.end(SIGTERM) == 0
    assert "Traceback" not in node.said()


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"PARTITIONS": "abc"}, "REWINDOW_PARTITIONS can't be used: Input should be a valid"),
        ({"PORT": "99999"}, "REWINDOW_PORT can't be used: Input should be less than or equal to"),
        ({"KAFKA": "host:port"}, "Kafka can't be used as REWINDOW_KAFKA and its kin say"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA": "/nowhere"},
            "Kafka can't be used as REWINDOW_KAFKA and its kin say",
        ),
    ],
)
def test_a_setting_that_can_not_be_used_is_named(
    told: dict[str, str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"DATA": str(tmp_path), "PORT": str(free_port())}
    for name, value in (common | told).items():
        monkeypatch.setenv(f"REWINDOW_{name}", value)
    with pytest.raises(CannotStart) as refused:
        asyncio.run(run_node(read_settings(NodeSettings)))
    assert str(refused.value).startswith(sentence)


def test_an_archive_that_can_not_be_used_is_named_and_its_password_is_not(begin: Begin) -> None:
    node = begin(postgres="postgresql://rewindow:secret@[nowhere")
    assert refuses(node).startswith("REWINDOW_POSTGRES is not an address of a database")
    assert "secret" not in node.said()


def test_a_port_that_is_taken_is_named(begin: Begin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        assert refuses(begin(port=str(port))) == (
            f"can't listen on 127.0.0.1:{port} (Address already in use); choose another port with "
            "REWINDOW_PORT"
        )


def test_a_data_folder_has_one_node(node: LiveNode, begin: Begin) -> None:
    folder = node.disk.parent
    assert refuses(begin(folder)).startswith(
        f"another process (pid {node.pid}) holds the data folder {node.disk}; stop it"
    )


def test_a_request_that_is_under_way_is_finished(node: LiveNode) -> None:
    """Its head arrives before the signal, its body after."""
    path = "/v1/contexts/under-way"
    with httpx.Client(base_url=node.url) as client:
        assert client.put(path, json={}).status_code == 201
    body = json.dumps({"message": said("in time")}).encode()
    with socket.create_connection(("127.0.0.1", node.settings.port), timeout=30) as connection:
        head = f"POST {path}/messages HTTP/1.1\r\nHost: node\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100"), "it waits for the body"
        node.send(SIGTERM)
        until(lambda: "node stops" in node.said(), "it has begun to stop")
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 201")
    assert node.wait_ended() == 0
    assert "Traceback" not in node.said()
    node.begin()
    with httpx.Client(base_url=node.url) as client:
        assert texts(client.get(f"{path}/tail").json()["messages"]) == ["in time"]


def test_of_two_with_one_id_the_older_one_ends(node: LiveNode, begin: Begin) -> None:
    younger = begin(prefix=node.settings.prefix, url=node.settings.url)
    assert node.wait_ended() == EXPELLED
    younger.wait_ready()
    assert "another process runs under this node's id" in node.said()
    assert "Traceback" not in node.said()

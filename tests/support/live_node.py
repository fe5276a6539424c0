"""A `rewindow node` as a process of its own, which a test may kill, stop and start at will."""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import psycopg

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.node import Node
from rewindow.embedded.ports import free_port
from rewindow.settings import NodeSettings
from streams.tables.digest import Digest
from tests.support.servers import running

NODE: str = "node-1"


class LiveNode(Node):
    """Topics, disk and port are its own. `told`: more of its environment, without `REWINDOW_`.

    `environment` is what a command needs to find the same deployment.
    """

    ready_s = 60

    def __init__(self, folder: Path, kafka: str, postgres: str | None, **told: str) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self.told: dict[str, str] = {
            "kafka": kafka,
            "prefix": f"t{uuid.uuid4().hex[:12]}",
            "host": "127.0.0.1",
            "port": str(port),
            "url": url,
            # The least that a broker takes: a node that was killed is given up sooner.
            "session_timeout_s": "6",
            "archive_flush_interval_ms": "100",
            **told,
        }
        if postgres is not None:
            self.told["postgres"] = postgres
        self.environment = {f"REWINDOW_{name.upper()}": value for name, value in self.told.items()}
        super().__init__(NODE, url, DataFolder(folder), told=self.environment)
        self.disk = folder / NODE

    @property
    def settings(self) -> NodeSettings:
        """What it is told, for those who look at the same deployment from here."""
        return NodeSettings.model_validate(self.told | {"data": self.disk})

    def begin(self) -> None:
        """Start it, and wait until it is ready."""
        self.start()
        self.wait_ready()

    def send(self, by: signal.Signals) -> None:
        """Send a signal."""
        assert self.pid is not None, "begin() comes first"
        os.kill(self.pid, by)

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        self.send(by)
        return self.wait_ended()

    def digests(self) -> list[Digest]:
        """What its tables hold."""
        answer = httpx.get(f"{self.url}/internal/digests", timeout=30)
        digests = msgspec.json.decode(answer.raise_for_status().content, type=list[Digest])
        return sorted(digests, key=lambda digest: digest.partition)

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text()


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """The URL of an empty database, dropped afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        admin.execute(f'drop database "{name}" with (force)')


@contextmanager
def live_node(folder: Path, kafka: str, server: str | None, **told: str) -> Iterator[LiveNode]:
    """One that is ready, with a database of its own where there is a Postgres server."""
    if server is None:
        with running(LiveNode(folder, kafka, None, **told)) as node:
            yield node
    else:
        with (
            own_database(server) as postgres,
            running(LiveNode(folder, kafka, postgres, **told)) as node,
        ):
            yield node

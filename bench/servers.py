"""A broker, a Postgres and nodes of our own, for as long as a job needs them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import psycopg

from bench.http import serves
from bench.messages import PARTITIONS
from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import Kafka
from rewindow.embedded.node import Node
from rewindow.embedded.ports import free_port
from rewindow.embedded.postgres import Postgres
from rewindow.embedded.server import Server

S = TypeVar("S", bound=Server)

HOST: Final = "127.0.0.1"
ASK_S: Final = 2.0
OWN: Final = ""


class QuietNode(Node):
    """Asked for its health cheaply, so that the asking does not show in what is measured."""

    look_again_s = 0.05

    def _serves(self) -> bool:
        return serves(self.url, "/health/ready", ASK_S)


def node_at(
    url: str, name: str, folder: DataFolder, kafka: str, postgres: str | None, **told: str
) -> QuietNode:
    """A node that is not started yet. `told`: more of its environment."""
    return QuietNode(
        name,
        url,
        folder,
        told={
            "REWINDOW_KAFKA": kafka,
            "REWINDOW_POSTGRES": postgres,
            "REWINDOW_HOST": HOST,
            "REWINDOW_PORT": str(urlsplit(url).port),
            "REWINDOW_URL": url,
            "REWINDOW_PARTITIONS": str(PARTITIONS),
            **told,
        },
    )


class Servers:
    """`kafka` is where clients connect; `broker_pid` for those who watch its CPU."""

    def __init__(self, folder: DataFolder, kafka: Kafka, postgres: Postgres | None) -> None:
        assert kafka.pid is not None, "started"
        self.kafka = kafka.address
        self.broker_pid = kafka.pid
        self.data = folder.path / "kafka" / "data"
        self.folder = folder
        self.postgres_pid = None if postgres is None else postgres.pid
        self._postgres = postgres

    def new_node(
        self, prefix: str, *, name: str | None = None, archive: str | None = OWN
    ) -> QuietNode:
        """A node that is not started yet. Its archive is a database of the deployment's own, or the
        one of that name, or none; with another `name` it has another, empty disk."""
        url = f"http://{HOST}:{free_port()}"
        archive = None if self._postgres is None else archive
        postgres = None if archive is None else self.database(archive or prefix)
        told = {"REWINDOW_NODE_ID": "node-1", "REWINDOW_PREFIX": prefix}
        kafka = self.kafka
        return node_at(url, name or f"{prefix}-node", self.folder, kafka, postgres, **told)

    def database(self, name: str) -> str:
        """Where the database of that name is, which is made the first time."""
        assert self._postgres is not None, "there is a Postgres"
        url = self._postgres.url
        with psycopg.connect(url, autocommit=True) as admin:
            known = admin.execute("select 1 from pg_database where datname = %s", (name,))
            if known.fetchone() is None:
                admin.execute(f'create database "{name}"')
        return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def servers(path: Path, *, postgres: bool = True) -> Iterator[Servers]:
    """A fresh broker, and a fresh Postgres if wanted."""
    folder = DataFolder(path)
    with ExitStack() as stack:
        folder.hold()
        stack.callback(folder.release)
        kafka = stack.enter_context(running(Kafka(folder, class_path(print))))
        archive = stack.enter_context(running(Postgres(folder))) if postgres else None
        yield Servers(folder, kafka, archive)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Started and ready; stopped at the end, whatever happened."""
    try:
        server.start()
        server.wait_ready()
        yield server
    finally:
        server.stop()

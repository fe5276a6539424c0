"""`rewindow up` with three brokers, three nodes and Postgres, and ways to hurt it from outside."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from rewindow.embedded.ports import free_port
from schemas.topics import Topics
from tests.support.live_node import LiveNode
from tests.support.processes import family, gone
from tests.support.up_command import UpCommand
from tests.support.wait import until, until_async

COUNT: Final = 3
PREFIX: Final = "rewindow"
TOPICS: Final = Topics(PREFIX)
PARTITIONS: Final = 4
SESSION_S: Final = 6
TAIL_KEEP: Final = 200
"""Few, so that messages are trimmed while it goes on; and more than a writer says while another try
of its last request may still be under way."""
BACK_S: Final = 90.0
ASK_S: Final = 3.0

_ENDED: Final = re.compile(r"(node-\d) \(pid (\d+)\) ended with status (-?\d+)")


class Cluster:
    """`hurt`: the processes that got a signal of ours."""

    def __init__(self, folder: Path) -> None:
        self.hurt: set[int] = set()
        self._folder = folder
        self._sleepers = 0
        self._up = UpCommand(
            folder,
            *("--nodes", str(COUNT), "--brokers", str(COUNT), "--partitions", str(PARTITIONS)),
            port=free_port(in_a_row=COUNT),
            tail_keep=str(TAIL_KEEP),
            session_timeout_s=str(SESSION_S),
        )
        self._guest: LiveNode | None = None

    # -- as a whole -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Wait until it is ready."""
        self._up.wait_until_it_says(f"ready {self._up.url}")

    def end(self) -> int:
        """Stop all of it in order; the exit status."""
        return self._up.end(signal.SIGTERM)

    def discard(self) -> None:
        """Leave no process, in whatever state it is."""
        if self._guest is not None:
            self._guest.stop()
        ours = () if gone(self._up.process.pid) else family(self._up.process.pid)
        self._up.discard()
        until(lambda: all(map(gone, ours)), "every process of `up` has ended with it")

    @property
    def data(self) -> Path:
        """The data folder of `up`, which the commands find it by."""
        return self._up.data

    @property
    def urls(self) -> list[str]:
        """Of the three nodes."""
        return self._up.endpoints.http

    @property
    def kafka(self) -> str:
        """The three brokers."""
        return self._up.endpoints.kafka

    @property
    def postgres(self) -> str:
        """The archive."""
        url = self._up.endpoints.postgres
        assert url is not None
        return url

    def ended_unhurt(self) -> list[str]:
        """What `up` said of nodes that ended without a signal of ours."""
        return [
            found[0]
            for found in _ENDED.finditer(self._up.complained)
            if int(found[2]) not in self.hurt
        ]

    # -- the supervisor -------------------------------------------------------------------------

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Meanwhile `up` starts nothing again."""
        self._sleepers += 1
        self._up.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._sleepers -= 1
            if self._sleepers == 0:
                self._up.process.send_signal(signal.SIGCONT)

    # -- one process ----------------------------------------------------------------------------

    def node(self, number: int) -> int:
        """The process of a node, 1 to 3."""
        return self._up.endpoints.nodes[number - 1].pid

    def broker(self, number: int) -> int:
        """The process of a broker, 1 to 3."""
        return self._up.endpoints.brokers[number - 1].pid

    def postmaster(self) -> int:
        """The first process of Postgres."""
        return int((self.data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    def send(self, pid: int, by: signal.Signals) -> None:
        """Send a signal. One that has ended by itself in this moment is past being hurt."""
        self.hurt.add(pid)
        if not gone(pid):
            os.kill(pid, by)

    async def ended(self, pid: int) -> None:
        """Wait until a process is gone."""

        async def it_is() -> bool:
            return gone(pid)

        await until_async(it_is, f"process {pid} ends", deadline_s=BACK_S)

    def empty_disk(self, number: int) -> None:
        """Of a node that has ended."""
        shutil.rmtree(self.data / f"node-{number}" / "tables")

    def guest(self) -> LiveNode:
        """A fourth node, which nobody watches over; the same one each time."""
        if self._guest is None:
            folder = self._folder / "guest"
            folder.mkdir()
            self._guest = LiveNode(
                folder,
                self.kafka,
                self.postgres,
                prefix=PREFIX,
                node_id="node-4",
                replication=str(COUNT),
                tail_keep=str(TAIL_KEEP),
            )
        return self._guest

    # -- health ---------------------------------------------------------------------------------

    async def in_sync(self) -> None:
        """Wait until each broker knows all three, and all replicas to be in sync."""
        for address in self.kafka.split(","):
            await until_async(
                lambda at=address: asyncio.to_thread(_sees_all, at),  # type: ignore[misc]
                f"all replicas are in sync, as {address} sees it",
                deadline_s=BACK_S,
            )

    async def ready(self) -> None:
        """Wait until every node is, and Postgres is archived into."""
        async with httpx.AsyncClient(timeout=ASK_S) as client:
            for url in self.urls:
                await until_async(
                    lambda at=url: _is_well(client, at),  # type: ignore[misc]
                    f"{url} is ready",
                    deadline_s=BACK_S,
                )


def _sees_all(address: str) -> bool:
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    try:
        known = admin.list_topics(timeout=ASK_S)
    except KafkaException:
        return False
    partitions = (p for topic in known.topics.values() for p in topic.partitions.values())
    return len(known.brokers) == COUNT and all(len(p.isrs) == len(p.replicas) for p in partitions)


async def _is_well(client: httpx.AsyncClient, url: str) -> bool:
    try:
        answer = await client.get(f"{url}/health/ready")
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and not answer.json().get("notes")

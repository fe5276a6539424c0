"""What a node stands on goes away for a while and comes back; nobody does anything about it.

REWINDOW_OUTAGE_S says how long it is away: 10 s by default, which is more than a session.
`make outages` has it away for minutes.
"""

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL

import httpx
import psycopg
import pytest

from rewindow.embedded.kafka import Kafka
from rewindow.embedded.postgres import Postgres
from rewindow.embedded.server import Server
from tests.support.commands import rewindow
from tests.support.contexts import Context, is_problem, said, texts
from tests.support.doors import replayed
from tests.support.live_node import LiveNode, own_database
from tests.support.servers import held, new_kafka, running
from tests.support.wait import until, until_async
from tests.support.writers import Writers, try_append

OUTAGE_S = float(os.environ.get("REWINDOW_OUTAGE_S", "10"))
HEALED_S = 60.0
DISK_BYTES = 48 << 20
CONTEXTS = ["one", "two", "three ü"]
REFUSED = "asked for while the broker was away"


class Supervised(LiveNode):
    """Started again whenever it ends, as whatever runs it does it. `deaths`: how often it did."""

    deaths = 0
    _over = False

    def watch(self) -> None:
        """Until `over()`. Blocks."""
        while True:
            self.wait_ended()
            if self._over:
                return
            self.deaths += 1
            self.start()

    def over(self) -> None:
        """It may end now."""
        self._over = True


@asynccontextmanager
async def written_to(node: LiveNode) -> AsyncIterator[Writers]:
    """By writers who have some promises already, and end when everything is acknowledged."""
    writers = Writers(node.url, CONTEXTS, per_context=2)
    writing = asyncio.create_task(writers.run())
    await writers.reach(60)
    yield writers
    writers.finish()
    await writing


@contextmanager
def supervised(node: Supervised) -> Iterator[Supervised]:
    """Running, and watched over."""
    with running(node):
        watching = threading.Thread(target=node.watch, daemon=True)
        watching.start()
        try:
            yield node
        finally:
            node.over()
    watching.join(30)


def kill(server: Server) -> None:
    """As a power cut does."""
    assert server.pid is not None, "it runs"
    os.kill(server.pid, SIGKILL)
    server.wait_ended()


async def all_is_kept(node: LiveNode, writers: Writers) -> None:
    """Assert that every promise is kept, once, and that the tables are what the log says."""
    assert writers.surprises == []
    async with httpx.AsyncClient(base_url=node.url, timeout=30) as client:
        for name in CONTEXTS:
            bodies = await replayed(client, name)
            promised = sorted((p.seq, p.text) for p in writers.promises if p.context == name)
            found = texts([httpx.Response(200, content=body).json() for body in bodies])
            assert list(enumerate(found, start=1)) == promised
    verified = await asyncio.to_thread(lambda: rewindow("verify", **node.environment))
    assert verified.returncode == 0, verified.stdout + verified.stderr


# -- the broker ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The node's."""
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    with held(tmp_path / "kafka") as folder, running(new_kafka(folder)) as server:
        yield server


async def test_a_broker_that_is_away_is_waited_for(
    folder: Path, own_kafka: Kafka, postgres_url: str
) -> None:
    with (
        own_database(postgres_url) as database,
        supervised(Supervised(folder, own_kafka.address, database)) as node,
    ):
        async with written_to(node) as writers:
            await asyncio.to_thread(kill, own_kafka)
            async with httpx.AsyncClient(base_url=node.url, timeout=30) as client:
                refused = Context(client, CONTEXTS[0])
                await without_a_broker(refused)
                await asyncio.to_thread(own_kafka.start)
                await asyncio.to_thread(own_kafka.wait_ready)
                await writers.append(refused, REFUSED)
            await writers.reach(len(writers.promises) + 60)
        await all_is_kept(node, writers)
        assert node.deaths == 0


async def without_a_broker(context: Context) -> None:
    """For as long as the outage lasts: reads go on, and say what they are; writes are refused."""

    async def stale() -> bool:
        return (await context.read("context")).headers.get("Rewindow-Stale") == "true"

    await until_async(stale, "reads say that they may be old")
    end = asyncio.get_running_loop().time() + OUTAGE_S
    while asyncio.get_running_loop().time() < end:
        body = is_problem(await try_append(context, REFUSED), 503, "unavailable")
        assert body["retry_after"] >= 1
        for what in ("context", "tail", "messages"):
            answer = await context.read(what)
            assert (answer.status_code, answer.headers.get("Rewindow-Stale")) == (200, "true")


# -- Postgres --------------------------------------------------------------------------------------


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    with held(tmp_path / "postgres") as folder, running(Postgres(folder)) as server:
        yield server


async def test_while_postgres_is_away_nobody_notices(
    folder: Path, kafka: str, own_postgres: Postgres
) -> None:
    with supervised(Supervised(folder, kafka, own_postgres.url)) as node:
        async with written_to(node) as writers:
            await asyncio.to_thread(kill, own_postgres)
            await writes_go_on(node, writers)
            await asyncio.to_thread(own_postgres.start)
            await asyncio.to_thread(own_postgres.wait_ready)
        assert writers.retries == 0
        await all_is_kept(node, writers)
        assert node.deaths == 0
        promised = sorted((p.context, p.seq) for p in writers.promises)
        until(lambda: in_postgres(own_postgres) == promised, "archived", deadline_s=HEALED_S)


async def writes_go_on(node: LiveNode, writers: Writers) -> None:
    async with httpx.AsyncClient(base_url=node.url, timeout=30) as client:

        async def told() -> bool:
            answer = await client.get("/health/ready")
            assert answer.status_code == 200
            return any("archive" in note for note in answer.json().get("notes", ()))

        await until_async(told, "the node says that its archive stands still")
    end = asyncio.get_running_loop().time() + OUTAGE_S
    while asyncio.get_running_loop().time() < end:
        await writers.reach(len(writers.promises) + 20)


def in_postgres(server: Postgres) -> list[tuple[str, int]]:
    with psycopg.connect(server.url) as connection:
        return connection.execute("select context_id, seq from messages order by 1, 2").fetchall()


# -- the disk --------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder for a node whose own disk in it is small."""
    folder = tmp_path / "small"
    disk = folder / "node-1"
    disk.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(disk)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def test_a_full_disk_is_survived(small_disk: Path, kafka: str, postgres_url: str) -> None:
    with (
        own_database(postgres_url) as database,
        supervised(Supervised(small_disk, kafka, database)) as node,
    ):
        async with written_to(node) as writers:
            ballast = node.disk / "ballast"
            await asyncio.to_thread(fill, ballast)

            await much_is_said(node)
            assert "No space left" in node.said()
            ballast.unlink()
            await writers.reach(len(writers.promises) + 60)
        await all_is_kept(node, writers)


async def much_is_said(node: Supervised) -> None:
    """Until the node can't go on: RocksDB has room set aside for a while."""
    end = asyncio.get_running_loop().time() + HEALED_S
    async with httpx.AsyncClient(base_url=node.url, timeout=30) as client:
        context = Context(client, "much")
        while node.deaths == 0:
            assert asyncio.get_running_loop().time() < end, "it goes on without a disk"
            with suppress(httpx.TransportError):
                await context.put()
                await context.post({"message": said("x" * 900_000, tokens=1)})


def fill(ballast: Path) -> None:
    """Leave nothing free, whatever is freed meanwhile."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64 << 10))

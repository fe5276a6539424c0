"""A node that was stopped for longer than its session, and wakes up with the past in its hands."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import httpx
import psutil
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from rewindow.node import EXPELLED
from schemas.topics import TAILS, WINDOWS
from streams.app import Streams
from tests.support.contexts import Context
from tests.support.deployment import Deployment
from tests.support.fold import append, messages
from tests.support.live_node import LiveNode
from tests.support.node import folded, never, running_streams, serving
from tests.support.servers import held, new_kafka, running
from tests.support.wait import until, until_async

DYING_NODE = Path(__file__).parents[1] / "support" / "dying_node.py"

CONTEXTS = [f"context {number}" for number in range(12)]
PASSED_ON = {"Rewindow-Passed-On": "1"}
READS = ("", "/context", "/tail", "/messages", "/context?min_version=2")
HAMMERS = 24
"""Connections that ask again and again, each from before the node wakes up."""


# -- reads of whoever was stopped ------------------------------------------------------------------


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[list[LiveNode]]:
    """Two of one deployment, with a disk each."""
    with ExitStack() as stack:
        one = LiveNode(tmp_path_factory.mktemp("one"), kafka, None)
        told = {"prefix": one.told["prefix"], "node_id": "node-2"}
        other = LiveNode(tmp_path_factory.mktemp("other"), kafka, None, **told)
        yield [stack.enter_context(running(node)) for node in (one, other)]


class Reader:
    """Reads contexts from one node, on a connection of its own, and remembers what it was told."""

    def __init__(self, client: httpx.AsyncClient, context: str, number: int) -> None:
        self.answers: list[httpx.Response] = []
        self.asked = asyncio.Event()
        self._client = client
        self._path = Context(client, context).path + READS[number % len(READS)]
        self._headers = PASSED_ON if number % 2 else {}

    async def run(self) -> None:
        """Until the node is gone."""
        while True:
            try:
                answer = await self._client.get(
                    self._path, headers=self._headers, extensions={"trace": self._trace}
                )
            except httpx.TransportError:
                return
            self.answers.append(answer)

    async def _trace(self, event: str, _about: object) -> None:
        if event == "http11.send_request_body.complete":
            self.asked.set()


async def owned_by(node: LiveNode) -> list[str]:
    """The contexts that a node has."""
    async with httpx.AsyncClient(base_url=node.url, headers=PASSED_ON) as client:
        answers = [await client.get(Context(client, name).path) for name in CONTEXTS]
    return [name for name, answer in zip(CONTEXTS, answers, strict=True) if answer.is_success]


async def put_and_shared(nodes: list[LiveNode], client: httpx.AsyncClient) -> None:
    """Every context has one message, and each node has some of them."""

    async def shared() -> bool:
        return all([0 < len(await owned_by(node)) < len(CONTEXTS) for node in nodes])

    for name in CONTEXTS:
        await Context(client, name).put()
        await Context(client, name).say("old")
    await until_async(shared, "both nodes have contexts")


@pytest.fixture
async def client(nodes: list[LiveNode]) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who asks the node that stays awake."""
    async with httpx.AsyncClient(base_url=nodes[1].url, timeout=60) as client:
        yield client


def newest_version(answer: httpx.Response) -> int:
    body = answer.json()
    version: int = body["version"] if "version" in body else body["messages"][-1]["version"]
    return version


async def test_a_node_that_slept_too_long_never_shows_what_is_old(
    nodes: list[LiveNode], client: httpx.AsyncClient
) -> None:
    """It is asked from the very first moment: the requests lie there before it wakes up."""
    sleeper, _ = nodes
    await put_and_shared(nodes, client)
    slept = await owned_by(sleeper)
    sleeper.send(SIGSTOP)
    for name in slept:
        # The other node waits for its turn; then the context goes on there.
        assert (await Context(client, name).say("new"))["version"] == 2

    async with AsyncExitStack() as stack:
        readers = [
            Reader(
                await stack.enter_async_context(
                    httpx.AsyncClient(base_url=sleeper.url, timeout=60)
                ),
                slept[number % len(slept)],
                number,
            )
            for number in range(HAMMERS)
        ]
        reading = asyncio.gather(*(reader.run() for reader in readers))
        await asyncio.gather(*(reader.asked.wait() for reader in readers))
        sleeper.send(SIGCONT)
        await reading
    assert await asyncio.to_thread(sleeper.wait_ended) == EXPELLED
    answers = [answer for reader in readers for answer in reader.answers]
    assert answers, "it did answer before it ended"
    for answer in answers:
        if answer.status_code != 503:
            assert newest_version(answer) == 2, f"{answer.url}: {answer.text}"


async def test_without_a_broker_reads_go_on_and_say_that_they_may_be_old(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """For much longer than a session; nobody can give its partitions to others."""
    with ExitStack() as stack:
        folder = stack.enter_context(held(tmp_path_factory.mktemp("kafka")))
        broker = stack.enter_context(running(new_kafka(folder)))
        node = stack.enter_context(
            running(LiveNode(tmp_path_factory.mktemp("node"), broker.address, None))
        )
        async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
            context = Context(client, "c")
            await context.put()
            await context.say("before")

            async def marked() -> bool:
                answer = await context.read("context")
                assert answer.status_code == 200, answer.text
                assert newest_version(answer) == 1
                return "Rewindow-Stale" in answer.headers

            async def unsure() -> bool:
                """By its heartbeats alone it would not be sure any more."""
                problems = (await client.get("/health/ready")).json().get("problems", [])
                silent = [p for p in problems if p.startswith("the broker has not answered for")]
                long = silent and int(silent[0].split()[-2]) > node.settings.session_timeout_s
                return await marked() and bool(long)

            async def fresh() -> bool:
                return not await marked()

            assert not await marked()
            assert broker.pid is not None
            os.kill(broker.pid, SIGKILL)
            await until_async(marked, "it has noticed")
            await until_async(unsure, "a session is over")
            await asyncio.to_thread(broker.start)
            await until_async(fresh, "the broker is back", deadline_s=60)
            await context.say("after")
    assert node.status == 0, "the same process all the time"


# -- writes of whoever was stopped -----------------------------------------------------------------


@pytest.fixture
def eager(kafka: str, prefix: str, tmp_path: Path) -> Deployment:
    """One partition, whose changelogs are compacted all the time."""
    deployment = Deployment(kafka, prefix, tmp_path / "sleeper", partitions=1).prepare()
    for table in (WINDOWS, TAILS):
        configure(
            deployment,
            ConfigResource(ResourceType.TOPIC, deployment.topics.changelog(table)),
            {
                "segment.ms": "100",
                "min.cleanable.dirty.ratio": "0.001",
                "max.compaction.lag.ms": "100",
                "delete.retention.ms": "0",
            },
        )
    # The brokers look for something to clean each 15 s only.
    for broker in AdminClient(deployment.kafka).list_topics(timeout=10).brokers:
        cleaner = ConfigResource(ResourceType.BROKER, str(broker))
        configure(deployment, cleaner, {"log.cleaner.backoff.ms": "100"})
    return deployment


def configure(deployment: Deployment, resource: ConfigResource, config: dict[str, str]) -> None:
    for name, value in config.items():
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource.add_incremental_config(entry)
    admin = AdminClient(deployment.kafka)
    admin.incremental_alter_configs([resource])[resource].result()


def say(deployment: Deployment, rounds: int) -> None:
    names = [f"c-{n}" for n in range(6)]
    for _ in range(rounds):
        deployment.write(*(append(*messages(4, 5), context=name) for name in names))


async def compacted(deployment: Deployment, awake: Streams) -> None:
    """Of all that the changelogs hold now, the cleaner has left the newest row of each key. Only
    what was written later makes it look at what was written before."""
    topics = [deployment.topics.changelog(table) for table in (WINDOWS, TAILS)]
    ends = {topic: deployment.read(topic)[-1].offset() for topic in topics}

    async def cleaned() -> bool:
        say(deployment, 1)
        await folded(awake, deployment)
        keys = {
            topic: [r.key() for r in deployment.read(topic) if r.offset() <= end]
            for topic, end in ends.items()
        }
        return all(len(found) == len(set(found)) for found in keys.values())

    await until_async(cleaned, "the changelogs are compacted")


@contextmanager
def stopping_node(
    deployment: Deployment, point: str, **told: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A node that stops itself in the middle of a flush that is not its first one."""
    told |= {"REWINDOW_DIES": point, "REWINDOW_DIES_BY": "SIGSTOP"}
    say(deployment, 1)
    node = subprocess.Popen(
        [sys.executable, str(DYING_NODE)],
        env=os.environ | deployment.environment() | told,
        cwd=DYING_NODE.parents[2],
    )
    try:
        until(lambda: deployment.facts(), "a first batch is committed", deadline_s=90)
        say(deployment, 20)
        until(lambda: psutil.Process(node.pid).status() == psutil.STATUS_STOPPED, "it stops")
        yield node
    finally:
        node.kill()
        node.wait()


async def sleeps_and_wakes(
    deployment: Deployment, sleeper: subprocess.Popen[bytes], awake: Streams
) -> None:
    """Somebody else goes on with the partition. Then it wakes up, goes on as well, and ends."""
    say(deployment, 20)
    await folded(awake, deployment)
    await compacted(deployment, awake)
    os.kill(sleeper.pid, SIGCONT)
    assert await asyncio.to_thread(sleeper.wait, 60) == -SIGKILL


def next_to(deployment: Deployment) -> Streams:
    """The streams of another node, in this process."""
    changes = {
        "node_id": "node-2",
        "url": "http://awake",
        "data": deployment.settings.data.with_name("awake"),
    }
    return Streams(deployment.settings.model_copy(update=changes), never)


@pytest.mark.parametrize("point", ["begun", "produced", "committed"])
async def test_nothing_of_a_flush_that_was_slept_over_shows(eager: Deployment, point: str) -> None:
    """Neither at once, nor when compaction has dropped what an older row would have hidden."""
    with stopping_node(eager, point) as sleeper:
        async with serving(next_to(eager)) as awake:
            await sleeps_and_wakes(eager, sleeper, awake)
            eager.is_exact(await folded(awake, eager))
            await compacted(eager, awake)
            eager.is_exact(await folded(awake, eager))
    # What lies on its own disk is a beginning of the truth.
    async with running_streams(eager) as woken:
        eager.is_exact(await folded(woken, eager))


async def test_without_fencing_it_would_show(eager: Deployment) -> None:
    """Else the test above proves nothing."""
    with stopping_node(eager, "begun", REWINDOW_UNFENCED="1") as sleeper:
        async with serving(next_to(eager)) as awake:
            await sleeps_and_wakes(eager, sleeper, awake)
    with pytest.raises(AssertionError):
        eager.is_consistent(0)

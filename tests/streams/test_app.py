"""The streams of a node on a real broker and real RocksDBs: exact after every death of it."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.codec import encode_event
from schemas.events import LogEvent
from streams.app import Streams
from streams.contexts import Contexts
from streams.core.outcome import Appended
from streams.store import Answered, Unavailable
from streams.tables import journal
from streams.tables.digest import Digest
from streams.tables.restore import TablesUnfit, restore
from streams.topics import TopicsUnfit
from tests.support.bad_header import write_with_bad_header
from tests.support.deployment import Deployment
from tests.support.dying_node import POINTS
from tests.support.fold import append, archived, compact, configure, last_n, messages
from tests.support.node import folded, never, ready, running_streams, serving
from tests.support.servers import held, new_kafka, running
from tests.support.strategies import mutated_records
from tests.support.wait import until, until_async

ENDS_S = 60
DYING_NODE = Path(__file__).parents[1] / "support" / "dying_node.py"


@pytest.fixture
def two(kafka: str, prefix: str, tmp_path: Path) -> Deployment:
    """Topics of two partitions."""
    return Deployment(kafka, prefix, tmp_path / "node", partitions=2).prepare()


def say(deployment: Deployment, rounds: int) -> None:
    """A few conversations over all partitions, with watermarks that trim."""
    names = [f"c-{n}" for n in range(6)]
    deployment.write(*(configure(context=name, policy=last_n(3)) for name in names))
    for _ in range(rounds):
        deployment.write(*(append(*messages(4, 5), context=name) for name in names))
    deployment.write(compact(*messages(7), context="c-1"))
    for partition in range(deployment.settings.partitions):
        deployment.write_event(archived(dict.fromkeys(names, 2 * rounds)), partition)


# -- deaths ----------------------------------------------------------------------------------------


@contextmanager
def dying_node(deployment: Deployment, **told: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node in a process of its own."""
    node = subprocess.Popen(
        [sys.executable, str(DYING_NODE)],
        env=os.environ | deployment.environment() | told,
        cwd=DYING_NODE.parents[2],
    )
    try:
        yield node
    finally:
        node.kill()
        node.wait()


def dies(node: subprocess.Popen[bytes]) -> None:
    """Wait until it has killed itself."""
    assert node.wait(90) == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
async def test_a_death_in_a_flush_leaves_nothing_half_done(two: Deployment, point: str) -> None:
    say(two, 20)
    with dying_node(two, REWINDOW_DIES=point) as node:
        await asyncio.to_thread(dies, node)
    for partition in (0, 1):
        two.is_consistent(partition)
    assert two.facts(0) + two.facts(1), "a first batch was committed"

    async with running_streams(two) as streams:
        two.is_exact(await folded(streams, two))
        say(two, 2)
        two.is_exact(await folded(streams, two))


async def test_an_emptied_disk_comes_back_with_the_same_hashes(two: Deployment) -> None:
    say(two, 20)
    async with running_streams(two) as streams:
        before = await folded(streams, two)
        two.is_exact(before)
    shutil.rmtree(two.settings.data)
    async with running_streams(two) as streams:
        assert await streams.digests() == before
        say(two, 2)
        two.is_exact(await folded(streams, two))


# -- what comes in ---------------------------------------------------------------------------------

records = st.one_of(
    st.tuples(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=200)),
    mutated_records(),
)


@settings(
    max_examples=2,
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(batch=st.lists(records, min_size=100, max_size=200))
async def test_faust_brings_whatever_lies_in_the_log(
    two: Deployment, batch: list[tuple[bytes | None, bytes | None]]
) -> None:
    two.write_bytes(*batch, (None, None), (b"", b""), (b"\xff", b"\xff"))
    two.write_bytes((b"c", b"{}"), headers=[("ü", None), ("a", b"\xff"), ("a", b"")])
    stranger = two.transactional()
    async with running_streams(two) as streams:
        two.is_exact(await folded(streams, two))
        two.write_bytes(*batch, partition=1)
        two.transact(stranger, append(), commit=False)
        two.transact(stranger, append(*messages(1)))
        answered = await streams.contexts.ask(append(*messages(5, 6)))
        assert isinstance(answered.outcome, Appended)
        two.is_exact(await folded(streams, two))


async def test_a_header_that_is_not_utf_8_stops_nothing(deployment: Deployment) -> None:
    """It comes alone, in the middle of what goes on, and as the last one of the log."""

    def write_bad(event: LogEvent) -> None:
        write_with_bad_header(
            deployment.settings.kafka, deployment.topics.log, b"c", encode_event(event)
        )

    write_bad(append(*messages(1)))
    deployment.write(append(*messages(2)))
    async with running_streams(deployment) as streams:
        deployment.is_exact(await folded(streams, deployment))
        deployment.write(append(*messages(3)))
        write_bad(append(*messages(4)))
        deployment.is_exact(await folded(streams, deployment))
        answered = await streams.contexts.ask(append(*messages(5)))
        assert answered.outcome == Appended(5, 5, 5, (5,))


# -- what it can't go on after ---------------------------------------------------------------------


async def test_tables_that_do_not_fit_the_log_end_the_node(deployment: Deployment) -> None:
    deployment.write(append(), append())
    async with running_streams(deployment) as streams:
        await folded(streams, deployment)
    deployment.make_log_anew(append(), append(), append())
    with pytest.raises(TablesUnfit, match="made anew since; run `rewindow rebuild`"):
        async with running_streams(deployment):
            pass


async def test_a_log_that_is_made_anew_under_a_node_ends_it(deployment: Deployment) -> None:
    """However quickly it grows beyond what was folded."""
    deployment.write(append(), append())
    async with running_streams(deployment) as streams:
        await folded(streams, deployment)
        await asyncio.to_thread(deployment.make_log_anew, *(append() for _ in range(9)))
        reason = await asyncio.wait_for(asyncio.shield(streams.ended), ENDS_S)
    assert isinstance(reason, TablesUnfit)
    assert "made anew since; run `rewindow rebuild`" in str(reason)


async def test_topics_that_do_not_fit_the_node_keep_it_from_starting(two: Deployment) -> None:
    settings = two.settings.model_copy(update={"partitions": 3})
    with pytest.raises(TopicsUnfit, match="has 2 partitions, this node is set to 3"):
        async with serving(Streams(settings, never)):
            pass


async def test_a_place_is_kept_while_tables_take_longer_than_a_session(
    two: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the node would lose for it what it restores, again at each start."""
    session_s = 3.0

    def slow(*args: Any) -> int:
        time.sleep(2 * session_s)
        return restore(*args)

    monkeypatch.setattr(journal, "restore", slow)
    say(two, 1)
    settings = two.settings.model_copy(update={"session_timeout_s": session_s})
    async with serving(Streams(settings, never)) as streams:
        two.is_exact(await folded(streams, two))


async def test_a_node_whose_place_is_taken_is_told_to_end(two: Deployment) -> None:
    """Two of one name would take the place from each other for ever."""
    two.write(append(*messages(1)))
    with dying_node(two) as first:
        await asyncio.to_thread(
            until, lambda: two.facts(0) + two.facts(1), "it folds", deadline_s=90
        )
        elsewhere = two.settings.model_copy(update={"data": two.settings.data / "elsewhere"})
        async with serving(Streams(elsewhere, never)) as second:
            await asyncio.to_thread(dies, first)
            two.write(append(*messages(2)))
            two.is_exact(await folded(second, two))


# -- more than one node ----------------------------------------------------------------------------


async def test_partitions_go_to_a_node_that_joins_and_come_back(two: Deployment) -> None:
    say(two, 3)
    changes = {"node_id": "node-2", "data": two.settings.data / "second"}
    settings = two.settings.model_copy(update=changes)
    async with running_streams(two) as streams:
        before = await folded(streams, two)
        async with serving(Streams(settings, never)) as joining:
            await until_async(lambda: have(streams, 1), "a partition went")
            await until_async(lambda: have(joining, 1), "to the other one")
            there = [*await streams.digests(), *await joining.digests()]
            assert sorted(there, key=partition_of_digest) == before
            say(two, 2)
            for node in (streams, joining):
                two.is_exact(await folded(node, two))
            (gone,) = await joining.digests()
        await until_async(lambda: have(streams, 2), "it is back", deadline_s=60)
        assert gone in await streams.digests()
        say(two, 1)
        two.is_exact(await folded(streams, two))


async def have(streams: Streams, partitions: int) -> bool:
    return len(await streams.digests()) == partitions and await ready(streams)


def partition_of_digest(digest: Digest) -> int:
    return digest.partition


# -- the broker goes -------------------------------------------------------------------------------


async def test_an_outage_of_the_broker_is_waited_out(tmp_path: Path) -> None:
    with held(tmp_path / "kafka") as folder, running(new_kafka(folder)) as broker:
        deployment = Deployment(
            broker.address, "outage", tmp_path / "node", partitions=1, write_timeout_s=1
        ).prepare()
        async with running_streams(deployment) as streams:
            contexts = streams.contexts
            await contexts.ask(append(*messages(1), key="before"))
            await asyncio.to_thread(broker.stop)
            with pytest.raises(Unavailable):
                await contexts.ask(append(*messages(2), key="in doubt"))
            head = await contexts.head("c")
            assert head is not None
            assert head.version == 1, "reads go on"
            await until_async(
                lambda: tells_of(streams, "the broker has not answered"), "it says so"
            )

            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(broker.wait_ready)
            await until_async(lambda: ready(streams), "it heals by itself", deadline_s=60)
            answered = await again(contexts, append(*messages(2), key="in doubt"))
            assert isinstance(answered.outcome, Appended)
            assert (answered.outcome.first_seq, answered.outcome.version) == (2, 2)
            deployment.is_exact(await folded(streams, deployment))


async def tells_of(streams: Streams, problem: str) -> bool:
    return any(problem in told for told in streams.contexts.health().problems)


async def again(contexts: Contexts, event: LogEvent) -> Answered:
    """Ask until there is an answer, as a client does."""

    async def ask() -> Answered | None:
        try:
            return await contexts.ask(event)
        except Unavailable:
            return None

    answered = await until_async(ask, "an answer", deadline_s=60)
    assert answered is not None
    return answered

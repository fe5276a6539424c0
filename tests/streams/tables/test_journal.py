"""The journal: batches that are all or nothing, in one order of effects, by one owner."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from schemas.topics import TAILS, WINDOWS
from streams.core.rows import LOG_KEY, POSITION_KEY
from streams.settings import KafkaConfig
from streams.tables import journal as journals
from streams.tables import restore as restoring
from streams.tables.journal import Journal
from streams.tables.lane import Lane
from streams.tables.overlay import Overlay
from streams.tables.restore import TablesUnfit
from streams.tables.source import Bounds
from streams.tables.transaction import Fenced, TransactionWriter
from tests.support.deployment import Deployment
from tests.support.fold import append, archived, compact, configure, last_n, messages
from tests.support.gate import PATIENCE_S, Gate
from tests.support.tables import Tables, tables_of
from tests.support.wait import until, until_async


@pytest.fixture
async def tables(deployment: Deployment, tmp_path: Path) -> AsyncIterator[Tables]:
    async with tables_of(deployment, tmp_path / "tables") as tables:
        yield tables


async def test_effects_come_in_one_order(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. the Kafka transaction, 2. RocksDB, the table with the position last, 3. the source offset:
    so that a crash anywhere leaves what the next start can go on from."""
    deployment.write(append(*messages(1, 2)))
    lane = await tables.own(0)
    names = {id(lane.windows): "windows", id(lane.tails): "tails"}
    store = Overlay.store
    seen = []

    def stores(overlay: Overlay, offset: int) -> None:
        committed = until(lambda: deployment.changelog(WINDOWS).get(POSITION_KEY), "committed")
        facts = len(until(deployment.facts, "published"))
        stored = {
            name: len(dict(table.db(0).items()))
            for name, table in (("windows", tables.windows), ("tails", tables.tails))
        }
        source = tables.journal.durable()[0]
        seen.append((names[id(overlay)], committed, facts, stored, source))
        store(overlay, offset)

    monkeypatch.setattr(Overlay, "store", stores)
    await tables.read_on()
    # Three rows (two messages, one answer) and the changelog offset beside them.
    assert seen == [
        ("tails", b"0", 2, {"windows": 0, "tails": 0}, 0),
        ("windows", b"0", 2, {"windows": 0, "tails": 4}, 0),
    ]
    assert tables.journal.durable() == {0: 1}
    deployment.is_exact([tables.digest()])


async def test_an_emptied_disk_comes_back_from_the_changelogs(
    tables: Tables, deployment: Deployment, tmp_path: Path
) -> None:
    """Trimmed rows, with the answers kept beside them, stay away: deletions are restored too."""
    await tables.own(0)
    deployment.write(
        configure(policy=last_n(2)),
        *(append(*messages(3, 4), context=name) for name in ("c", "d") for _ in range(4)),
        compact(*messages(5), context="d"),
        archived({"c": 8, "d": 8}),
    )
    await tables.read_on()
    before = tables.digest()
    deployment.is_exact([before])
    deleted = [r for r in deployment.read(deployment.topics.changelog(TAILS)) if not r.value()]
    assert len(deleted) > 10

    async with tables_of(deployment, tmp_path / "another disk") as restored:
        await restored.own(0)
        assert restored.digest() == before
        assert restored.journal.rows_restored > 0
        deployment.write(append(*messages(3)))
        await restored.read_on()
        deployment.is_exact([restored.digest()])


async def test_a_lane_opens_behind_what_was_folded(tables: Tables, deployment: Deployment) -> None:
    lane = await tables.own(0)
    assert (lane.next, lane.target, lane.caught_up) == (0, 0, True)
    deployment.write(append(), append())
    await tables.read_on()
    deployment.write(append())
    lane = await tables.own(0)
    assert (lane.next, lane.durable, lane.target, lane.caught_up) == (2, 2, 3, False)
    await tables.read_on()
    assert lane.caught_up


async def test_a_former_owner_is_fenced_and_its_batch_leaves_no_trace(
    tables: Tables, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.write(append(*messages(1)), append(*messages(2)))
    await tables.own(0)
    gate = Gate(monkeypatch, "produced")
    reading = asyncio.create_task(tables.read_on())
    await gate.reached()
    async with tables_of(deployment, tmp_path / "owner") as owner:
        await owner.own(0)
        assert owner.lane().next == 0
        gate.open()
        await reading
        assert tables.journal.lanes == {}, "the fenced one has no lane any more"
        assert deployment.facts() == []
        await owner.read_on()
        deployment.is_exact([owner.digest()])
    # The former owner gets the partition back, and finds what the other one did.
    await tables.own(0)
    deployment.is_exact([tables.digest()])
    assert tables.failures == []


async def test_a_fenced_node_that_gets_nothing_back_can_not_go_on(
    tables: Tables, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "REJOIN_S", -2 * deployment.settings.session_timeout_s)
    await tables.own(0)
    async with tables_of(deployment, tmp_path / "owner") as owner:
        await owner.own(0)
        deployment.write(append())
        await tables.read_on()

        async def failed() -> bool:
            return bool(tables.failures)

        await until_async(failed, "the node ends")
    assert isinstance(tables.failures[0], Fenced)


async def test_a_batch_in_the_air_belongs_to_whoever_comes_next(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed, and the lane that it came from is gone before it can be stored."""
    deployment.write(append(*messages(1)))
    former = await tables.own(0)
    gate = Gate(monkeypatch, "committed")
    reading = asyncio.create_task(tables.read_on())
    await gate.reached()
    owned = asyncio.create_task(tables.own(0))
    gate.open()
    lane = await owned
    await reading
    assert (former.durable, lane.durable) == (0, 1)
    assert tables.windows.db(0)[POSITION_KEY] == b"0"
    deployment.is_exact([tables.digest()])


async def test_a_lane_that_went_while_its_flush_was_put_off_writes_nothing(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is folded again by the lane that the partition came back as."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def pace(_journal: Journal, _seconds: float) -> None:
        begun.set()
        await over.wait()

    monkeypatch.setattr(Journal, "_pace", pace)
    deployment.write(append(*messages(1)))
    former = await tables.own(0)
    await tables.agent.read_on(former, 1)
    put_off = former.flushing
    assert put_off is not None
    await begun.wait()
    await tables.own(0)
    over.set()
    await put_off
    assert former.durable == 0
    assert tables.failures == []
    await tables.read_on()
    deployment.is_exact([tables.digest()])


async def test_what_is_waited_for_is_not_put_off(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever waits does not wait for what is folded meanwhile, which may never end."""
    monkeypatch.setattr(journals, "PACE_S", 3600)
    lane = await tables.own(0)
    deployment.write(append())
    await tables.agent.read_on(lane, 1)
    await until_async(lambda: is_durable(lane, 1), "the first flush is not put off")
    deployment.write(append())
    await tables.agent.read_on(lane, 2)
    settled = asyncio.create_task(tables.journal.settled())
    await asyncio.sleep(0)
    deployment.write(append())
    await tables.agent.read_on(lane, 3)
    await settled
    assert lane.durable >= 2
    await tables.journal.settled()
    deployment.is_exact([tables.digest()])


async def is_durable(lane: Lane, offset: int) -> bool:
    return lane.durable == offset


async def test_a_partition_that_is_written_during_its_restore_has_another_owner(
    tables: Tables, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its two tables one may be older than the other, so that there is nothing to be read."""
    restore, turns = journals.restore, iter([True])
    reached, go_on = threading.Event(), threading.Event()

    def restores(kafka: KafkaConfig, topic: str, *more: Any) -> int:
        if topic == deployment.topics.changelog(TAILS) and next(turns, False):
            reached.set()
            assert go_on.wait(PATIENCE_S)
        return restore(kafka, topic, *more)

    monkeypatch.setattr(journals, "restore", restores)
    deployment.write(append(*messages(1)))
    owning = asyncio.create_task(tables.journal.own([0]))
    assert await asyncio.to_thread(reached.wait, PATIENCE_S)
    async with tables_of(deployment, tmp_path / "owner") as owner:
        await owner.own(0)
        await owner.read_on()
        go_on.set()
        await owning
        assert tables.journal.lanes == {}
        deployment.is_exact([owner.digest()])
    await tables.own(0)
    deployment.is_exact([tables.digest()])
    assert tables.failures == []


async def test_a_broker_that_goes_away_during_an_assignment_is_waited_for(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has to be done again as a whole: nobody knows what somebody else did in the meantime."""
    deployment.write(append(*messages(1)))
    away = [KafkaError._TIMED_OUT, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._TRANSPORT]
    bounds, opened = tables.source.bounds, TransactionWriter.open
    fences = []

    def bounds_or_none(partition: int) -> Bounds:
        if away:
            raise KafkaException(KafkaError(away.pop()))
        return bounds(partition)

    def fence(writer: TransactionWriter) -> None:
        fences.append(writer)
        opened(writer)

    monkeypatch.setattr(tables.source, "bounds", bounds_or_none)
    monkeypatch.setattr(TransactionWriter, "open", fence)
    monkeypatch.setattr(journals, "RETRY_S", 0.0)
    await tables.own(0)
    assert len(fences) == 4
    await tables.read_on()
    deployment.is_exact([tables.digest()])
    away.append(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        await tables.own(0)


async def test_it_knows_where_others_have_folded_meanwhile(
    tables: Tables, deployment: Deployment, tmp_path: Path
) -> None:
    """They have answered whoever asked for that, so that nobody is to wait for it here."""
    await tables.own(0)
    assert tables.journal.unbroken == set()
    deployment.write(append())
    await tables.read_on()
    await tables.own(0)
    assert tables.journal.unbroken == {0}
    async with tables_of(deployment, tmp_path / "other") as other:
        await other.own(0)
        assert other.journal.unbroken == set()
        deployment.write(append())
        await other.read_on()
    await tables.own(0)
    assert tables.journal.unbroken == set()


async def test_behind_a_backlog_transactions_are_large(
    tables: Tables, deployment: Deployment
) -> None:
    await tables.own(0)
    deployment.write(*(append(*messages(n % 9)) for n in range(1500)))
    tables.deliver(*deployment.read(deployment.topics.log))
    digest = await tables.folded()
    deployment.is_exact([digest])
    # A transaction leaves a marker in every topic that it writes to.
    facts = deployment.read(deployment.topics.facts)
    markers = facts[-1].offset() + 1 - len(facts)
    assert markers < 1500 / 20


async def test_no_more_is_folded_than_may_be_lost(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the broker takes nothing, what is in memory stays bounded, and nothing is lost."""
    monkeypatch.setattr(journals, "UNFLUSHED_EVENTS_MAX", 10)
    monkeypatch.setattr("streams.agents.fold.ARRIVALS_MAX", 1)
    deployment.write(*(append() for _ in range(100)))
    lane = await tables.own(0)
    gate = Gate(monkeypatch, "produced")
    tables.deliver(*deployment.read(deployment.topics.log))
    await gate.reached()

    async def full() -> bool:
        return lane.next >= 10

    await until_async(full, "the room is full")
    for _ in range(100):
        await asyncio.sleep(0)
    assert lane.next == 10
    gate.open()
    deployment.is_exact([await tables.folded()])


async def test_a_table_that_can_not_be_written_ends_the_node(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(append())
    await tables.own(0)
    tables.tails.db(0).close()
    await tables.read_on()
    assert len(tables.failures) == 1
    tables.tails.dbs.clear()


# -- tables that don't fit their topics ------------------------------------------------------------


async def unfit(tables: Tables) -> str:
    with pytest.raises(TablesUnfit) as unfit:
        await tables.own(0)
    assert tables.journal.lanes == {}
    return str(unfit.value)


@pytest.mark.parametrize("events", [0, 2, 9])
async def test_a_log_that_was_made_anew_is_no_match(
    tables: Tables, deployment: Deployment, tmp_path: Path, events: int
) -> None:
    """However far it has grown, and on an empty disk as well."""
    deployment.write(append(), append(), append())
    await tables.own(0)
    await tables.read_on()
    deployment.make_log_anew(*(append() for _ in range(events)))
    says = (
        f"the tables of partition 0 come from another {deployment.topics.log}: it was deleted and "
        "made anew since; run `rewindow rebuild`"
    )
    assert await unfit(tables) == says
    async with tables_of(deployment, tmp_path / "empty") as empty:
        assert await unfit(empty) == says


async def test_tables_that_do_not_say_of_which_log_they_are_take_the_one_that_is_there(
    tables: Tables, deployment: Deployment
) -> None:
    """They come from a version that did not write it."""
    deployment.write(append(), append())
    await tables.own(0)
    await tables.read_on()
    deployment.is_exact([tables.digest()])
    deployment.tamper(WINDOWS, LOG_KEY, None)
    await tables.own(0)
    assert tables.windows.db(0).get(LOG_KEY) is None
    deployment.write(append())
    await tables.read_on()
    deployment.is_exact([tables.digest()])
    assert deployment.changelog(WINDOWS)[LOG_KEY] == deployment.log_id()
    deployment.make_log_anew(*(append() for _ in range(9)))
    assert "come from another" in await unfit(tables)


async def test_a_log_that_ends_before_what_was_folded_is_no_match(
    tables: Tables, deployment: Deployment
) -> None:
    """Be it the same one."""
    deployment.write(append(), append(), append())
    await tables.own(0)
    await tables.read_on()
    deployment.is_exact([tables.digest()])
    deployment.tamper(WINDOWS, POSITION_KEY, b"5")
    assert await unfit(tables) == (
        "the tables of partition 0 are at offset 5, the log ends at 3: it has lost events, or was "
        "made anew; run `rewindow rebuild`"
    )


async def test_a_changelog_that_was_made_anew_is_no_match(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.write(append())
    await tables.own(0)
    await tables.read_on()
    deployment.make_anew(deployment.topics.changelog(TAILS))
    monkeypatch.setattr(restoring, "MARKER_S", 0.2)
    told = await unfit(tables)
    assert (
        f"{deployment.topics.changelog(TAILS)}/0, which ends at 0: the topic was made anew" in told
    )
    assert "delete the node's data folder and start again" in told


async def test_rows_without_a_position_are_an_unfinished_rebuild(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(append())
    await tables.own(0)
    await tables.read_on()
    del tables.windows.db(0)[POSITION_KEY]
    assert await unfit(tables) == (
        "the tables of partition 0 hold rows but no position: a rebuild was interrupted; run "
        "`rewindow rebuild` again"
    )


async def test_events_that_retention_took_before_they_were_folded_are_an_alarm(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(append(*messages(1)), append(*messages(2)))
    await tables.own(0)
    await tables.read_on()
    deployment.write(*(append(*messages(n)) for n in range(3, 7)))
    deployment.delete_before(deployment.topics.log, 4)
    with capture_logs() as logs:
        lane = await tables.own(0)
    assert [(e["first"], e["last"]) for e in logs if e["log_level"] == "error"] == [(2, 3)]
    await tables.read_on()
    assert lane.next == 6
    head = lane.head("c")
    assert head is not None
    assert (head.last_seq, head.offset) == (4, 5)

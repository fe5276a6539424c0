"""Faust as it is: every private name that we use is there, and does what we take it to do.

When a new Faust changes one, one of these fails; then read what it does now before anything else.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import mode
import pytest
import pytest_asyncio
from aiokafka import errors
from aiokafka.consumer import fetcher, group_coordinator
from aiokafka.protocol.group import HeartbeatRequest
from confluent_kafka import Consumer, TopicPartition
from faust.stores import rocksdb
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import consumer as transport
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from rocksdict import DbClosedError, Rdict

from streams import faust_seams
from streams.app import Streams
from streams.tables.table import JournaledTable
from tests.support.deployment import Deployment
from tests.support.fold import append, messages
from tests.support.node import folded, running_streams
from tests.support.wait import PATIENCE_S, until_async

on_the_nodes_loop = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def deployment(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    data = tmp_path_factory.mktemp("seams")
    return Deployment(kafka, f"seams-{data.name}", data, partitions=2).prepare()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def streams(deployment: Deployment) -> AsyncIterator[Streams]:
    """One node that all of these look at."""
    async with running_streams(deployment) as streams:
        yield streams


@pytest.fixture
def app(tmp_path: Path) -> faust.App:
    """A Faust app that is never started."""
    return faust.App(
        "seams",
        store="rocksdb://?driver=rocksdict",
        datadir=str(tmp_path),
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=2,
        autodiscover=False,
    )


@pytest.fixture
def table(app: faust.App) -> JournaledTable:
    table = JournaledTable(app, name="t", key_type=bytes, value_type=bytes, partitions=2)
    app.tables.add(table)
    return table


def test_this_is_the_faust_that_was_read() -> None:
    assert version("faust-streaming") == "0.15.3"


# -- the consumer ----------------------------------------------------------------------------------


def consumer_of(streams: Streams) -> Any:
    thread: Any = streams._app.consumer
    return thread._thread._consumer


@on_the_nodes_loop
async def test_the_consumer_that_faust_makes_is_ours(streams: Streams) -> None:
    consumer = consumer_of(streams)
    assert isinstance(consumer, faust_seams._CommittedReader)
    assert consumer._isolation_level == "read_committed"
    assert consumer._fetcher._fetch_max_wait_ms == faust_seams.FETCH_WAIT_MS
    assert consumer._fetcher._fetch_min_bytes == faust_seams.FETCH_BYTES_MIN


@on_the_nodes_loop
async def test_the_records_that_it_unpacks_are_ours(streams: Streams) -> None:
    """What comes of it is in `test_app.py`: a header that is not UTF-8 stops nothing."""
    assert fetcher.PartitionRecords is faust_seams._ReadableRecords
    theirs = faust_seams._ReadableRecords.__mro__[1]
    assert "self._records_iterator = self._unpack_records()" in inspect.getsource(theirs)
    source = inspect.getsource(theirs._unpack_records)
    assert "next_batch = records.next_batch()" in source
    assert "self.next_fetch_offset = next_batch.next_offset" in source


@on_the_nodes_loop
async def test_the_fetch_loop_goes_through_our_wait(streams: Streams) -> None:
    assert type(streams._app.consumer) is driver.Consumer
    assert driver.Consumer._wait_next_records is faust_seams._wait_next_records
    assert "await self._wait_next_records(timeout)" in inspect.getsource(transport.Consumer.getmany)


def test_the_wait_that_ours_replaces_is_the_one_that_was_read() -> None:
    theirs = transport.Consumer._wait_next_records
    assert inspect.signature(theirs).parameters.keys() == {"self", "timeout"}
    source = inspect.getsource(theirs)
    for line in (
        "if not self.flow_active:",
        "await self.wait(self.can_resume_flow)",
        "self.not_waiting_next_records.set()",
        "active_partitions = self._get_active_partitions()",
        "records = await self._getmany(",
        "await self.sleep(1)",
        "return records, active_partitions",
    ):
        assert line in source


class Waiting:
    """What `_wait_next_records` uses of a consumer; the names are checked against the real one."""

    flow_active = True
    can_resume_flow = "the event"

    def __init__(self, active: set[TP]) -> None:
        self.active = active
        self.app = SimpleNamespace(taken_whole={"t": self._take})
        self.found: dict[TP, list[Any]] = {}
        self.took: list[tuple[int, list[Any]]] = []
        self.room: asyncio.Event | None = None
        self.suspend_flow = asyncio.Event()
        self.did: list[tuple[Any, ...]] = []
        self.not_waiting_next_records = asyncio.Event()

    async def wait(self, what: Any) -> None:
        self.did.append(("wait", what))

    async def sleep(self, seconds: float) -> None:
        self.did.append(("sleep", seconds))

    async def wait_first(self, *waited: Any) -> Any:
        return await faust_seams._wait_first(mode.Service(), *waited)

    async def _take(self, partition: int, found: list[Any]) -> None:
        self.took.append((partition, found))
        if self.room is not None:
            await self.room.wait()

    def _get_active_partitions(self) -> set[TP]:
        return self.active

    async def _getmany(self, *, active_partitions: set[TP], timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109
        self.did.append(("fetch", timeout))
        return {tp: found for tp, found in self.found.items() if tp in active_partitions}


@on_the_nodes_loop
async def test_while_every_partition_is_paused_it_naps_for_a_moment(streams: Streams) -> None:
    waiting = Waiting(set())
    for name in vars(Waiting):
        assert name.startswith("__") or name == "_take" or hasattr(streams._app.consumer, name)
    assert hasattr(streams._app.consumer, "not_waiting_next_records")
    assert await faust_seams._wait_next_records(waiting, 1.0) == ({}, set())
    assert waiting.did == [("sleep", faust_seams.NAP_S)]
    assert waiting.not_waiting_next_records.is_set()


async def test_it_fetches_when_it_may_and_waits_for_the_flow() -> None:
    tp = TP("t", 0)
    waiting = Waiting({tp})
    waiting.flow_active = False
    assert await faust_seams._wait_next_records(waiting, 1.5) == ({}, {tp})
    assert waiting.did == [("wait", "the event"), ("fetch", 1.5)]


async def test_what_somebody_takes_whole_does_not_go_faust_s_way() -> None:
    log, other = TP("t", 0), TP("u", 0)
    waiting = Waiting({log, other})
    records = [SimpleNamespace(offset=offset) for offset in (3, 4, 6)]
    waiting.found = {log: records, other: records}
    found, _ = await faust_seams._wait_next_records(waiting, 1.5)
    assert found == {other: records}
    assert waiting.took == [(0, records)]


async def test_a_rebalance_does_not_wait_for_whoever_takes_it() -> None:
    log = TP("t", 0)
    waiting = Waiting({log})
    waiting.found = {log: [SimpleNamespace(offset=3)]}
    waiting.room = asyncio.Event()
    fetching = asyncio.create_task(faust_seams._wait_next_records(waiting, 1.5))

    async def asked() -> bool:
        return bool(waiting.took)

    await until_async(asked, "it waits for room")
    waiting.suspend_flow.set()
    assert await fetching == ({}, {log})


@on_the_nodes_loop
async def test_faust_recovers_nothing_however_far_the_changelogs_have_gone_on(
    streams: Streams,
) -> None:
    """The fold goes on as soon as tables are restored, before Faust looks whether they are: it
    would put older rows over newer ones."""
    recovery: Any = streams._app.tables.recovery
    tp = TP(streams._windows.changelog, 0)
    assert tp in recovery.active_tps
    recovery.active_highwaters[tp] = recovery.active_offsets[tp] + 1_000
    assert Recovery.active_remaining_total(recovery) >= 1_000, "there would be something to do"
    assert not recovery.need_recovery()
    assert "if self.need_recovery():" in inspect.getsource(inspect.getmodule(Recovery) or Recovery)


def test_no_recovery_writes_to_a_table(table: JournaledTable) -> None:
    with pytest.raises(TypeError, match="not by Faust's recovery"):
        table.apply_changelog_batch([])


# -- streams and offsets ---------------------------------------------------------------------------


@on_the_nodes_loop
async def test_records_come_with_the_brokers_clock_and_their_bytes(
    streams: Streams, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    take = streams._fold._take

    async def notes(lane: Any, records: Any) -> None:
        records = list(records)
        found.extend(records)
        await take(lane, records)

    monkeypatch.setattr(streams._fold, "_take", notes)
    deployment.write_bytes((b"\xff", b"\0\xff"), (None, None))
    await folded(streams, deployment)
    written = deployment.read(deployment.topics.log)[-2:]
    assert [tuple(record[:5]) for record in found] == [
        (0, record.offset(), record.timestamp()[1], record.key(), record.value())
        for record in written
    ]


@on_the_nodes_loop
async def test_offsets_are_committed_as_we_say_and_never_by_faust(
    streams: Streams, deployment: Deployment
) -> None:
    log = deployment.topics.log
    assert not streams._app.topics.acks_enabled_for(log)
    deployment.write(*(append(*messages(n)) for n in range(5)))
    await folded(streams, deployment)
    await faust_seams.commit(streams._app, {TP(log, 0): 1, TP(log, 1): 2, TP("another", 0): 3})
    reader = Consumer({**deployment.kafka, "group.id": deployment.settings.prefix})
    try:
        committed = reader.committed([TopicPartition(log, p) for p in (0, 1)], timeout=20)
    finally:
        reader.close()
    assert [at.offset for at in committed] == [1, 2]


@on_the_nodes_loop
async def test_our_id_in_the_group_is_known(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert faust_seams.member_id(streams._app)
    monkeypatch.setattr(consumer_of(streams)._coordinator, "member_id", "")
    assert faust_seams.member_id(streams._app) == ""


@on_the_nodes_loop
async def test_the_place_in_the_group_is_held_by_ours(streams: Streams) -> None:
    """And what ours hangs on in it is as it was read."""
    theirs = group_coordinator.GroupCoordinator
    assert type(consumer_of(streams)._coordinator) is faust_seams._Coordinator
    assert "self._send_req(request)" in inspect.getsource(theirs._do_heartbeat)
    syncs = inspect.getsource(group_coordinator.CoordinatorGroupRebalance._send_sync_group_request)
    assert "await self._coordinator._send_req(request)" in syncs
    assert "if self._heartbeat_task is None:" in inspect.getsource(theirs._start_heartbeat_task)
    assert "self._group_instance_id is None" in inspect.getsource(theirs._maybe_leave_group)
    assert "await self._maybe_leave_group()" in inspect.getsource(theirs.close)
    assert "create_task(self._coordination_routine())" in inspect.getsource(theirs.__init__)
    routines = inspect.getsource(theirs._GroupCoordinator__coordination_routine)
    assert routines.count("await self._push_error_to_user(exc)") == 2


@on_the_nodes_loop
async def test_each_heartbeat_that_the_group_acknowledges_is_known(streams: Streams) -> None:
    began = time.monotonic()

    async def beaten() -> bool:
        return faust_seams.acknowledged_at(streams._app) > began

    await until_async(beaten, "a heartbeat is acknowledged")


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (errors.NoError, True),
        (errors.RebalanceInProgressError, True),
        (errors.UnknownMemberIdError, False),
        (errors.GroupCoordinatorNotAvailableError, False),
    ],
)
async def test_a_heartbeat_counts_from_when_it_was_sent_if_the_group_knows_us(
    error: Any, known: bool
) -> None:
    answered = asyncio.Event()

    async def send(_node: Any, _request: Any, **_more: Any) -> Any:
        await answered.wait()
        return SimpleNamespace(error_code=error.errno)

    coordinator: Any = object.__new__(faust_seams._Coordinator)
    coordinator.coordinator_id = 1
    coordinator._client = SimpleNamespace(send=send)
    asking = asyncio.create_task(coordinator._send_req(HeartbeatRequest("g", 1, "m")))
    await asyncio.sleep(0)
    sent_before = time.monotonic()
    answered.set()
    await asking
    assert (coordinator.acknowledged_at > 0) is known
    assert coordinator.acknowledged_at <= sent_before


async def test_nothing_is_acknowledged_before_there_is_a_group(app: faust.App) -> None:
    assert faust_seams.acknowledged_at(app) == float("-inf")


@pytest.mark.parametrize("routine", ["_do_heartbeat", "_do_rejoin_group"])
async def test_a_place_in_the_group_that_nobody_looks_after_any_more_ends_the_node(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, routine: str
) -> None:
    """aiokafka's routines die of what they don't know."""

    async def dies(_self: object, *_args: object) -> None:
        raise RuntimeError("nobody foresaw this")

    deployment = Deployment(kafka, prefix, tmp_path, partitions=1).prepare()
    async with running_streams(deployment) as streams:
        monkeypatch.setattr(faust_seams._Coordinator, routine, dies)
        consumer: Any = streams._app.consumer
        coordinator = consumer_of(streams)._coordinator
        consumer._thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)
        reason = await asyncio.wait_for(streams.ended, PATIENCE_S)
        assert "nobody foresaw this" in str(reason)


async def test_a_crash_of_the_app_wakes_whoever_waits_for_it(app: faust.App) -> None:
    waiting = asyncio.create_task(faust_seams.crash_of(app))
    await asyncio.sleep(0)
    assert not waiting.done()
    reason = RuntimeError("why")
    await app.crash(reason)
    assert await waiting is reason


async def test_a_crash_without_an_exception_is_one_too(app: faust.App) -> None:
    await app.crash(KeyboardInterrupt())
    assert "KeyboardInterrupt" in str(await faust_seams.crash_of(app))


# -- tables ----------------------------------------------------------------------------------------


def test_what_faust_does_when_tables_start_is_what_was_read(streams: Streams) -> None:
    assert TableManager.on_start is faust_seams._start_tables
    source = inspect.getsource(TableManager)
    for line in ("await self._update_channels()", "await self.recovery.start()"):
        assert line in source
    assert "self._tables_registered.set()" in inspect.getsource(TableManager._update_channels)


def test_no_garbage_is_collected_for_the_sake_of_a_rocksdb(streams: Streams) -> None:
    source = inspect.getsource(rocksdb)
    assert source.count("gc.") == source.count("gc.collect()")
    assert rocksdb.gc.collect() == 0


def test_a_partition_of_a_table_is_one_rocksdb(table: JournaledTable) -> None:
    one, other = (faust_seams.open_partition(table, partition) for partition in (0, 1))
    assert isinstance(one, Rdict)
    assert faust_seams.open_partition(table, 0) is one
    one[b"k"] = b"\0\xff"
    assert one[b"k"] == b"\0\xff", "bytes, as they are"
    assert other.get(b"k") is None
    faust_seams.close_partitions(table, range(2))


def test_a_partition_that_was_closed_opens_again_whoever_still_holds_it(
    table: JournaledTable,
) -> None:
    """Faust itself waits for the garbage collector, and would find the files locked."""
    held = faust_seams.open_partition(table, 0)
    held[b"k"] = b"v"
    faust_seams.close_partitions(table, range(2))
    with pytest.raises(DbClosedError):
        held.get(b"k")
    assert faust_seams.open_partition(table, 0)[b"k"] == b"v"
    faust_seams.close_partitions(table, range(2))


async def test_a_partition_that_is_revoked_is_closed(table: JournaledTable) -> None:
    """And a partition of another topic, or one that stays, is not."""
    went, stays = (table.db(partition) for partition in (0, 1))
    revoked = {TP(table.changelog, 0), TP("another", 1)}
    await table.on_rebalance(set(), revoked, set())
    with pytest.raises(DbClosedError):
        went.get(b"k")
    assert stays.get(b"k") is None
    await table.on_stop()
    with pytest.raises(DbClosedError):
        stays.get(b"k")


def test_faust_reads_the_offset_that_we_write(table: JournaledTable) -> None:
    """Else it would recover the table by itself, behind our backs and never to an end."""
    tp = TP(table.changelog, 0)
    assert table.data.persisted_offset(tp) is None
    table.db(0)[table.offset_key] = b"%d" % 41
    assert table.data.persisted_offset(tp) == 41
    table.data.set_persisted_offset(tp, 42)
    assert table.db(0)[table.offset_key] == b"42"
    faust_seams.close_partitions(table, range(2))


def test_the_changelog_has_the_name_that_the_contract_has(
    table: JournaledTable, streams: Streams, deployment: Deployment
) -> None:
    assert table.changelog == "seams-t-changelog"
    assert streams._tails.changelog == deployment.topics.changelog("tails")
    assert streams._windows.changelog == deployment.topics.changelog("windows")


@on_the_nodes_loop
async def test_the_partitions_that_are_owned_are_known(streams: Streams) -> None:
    assert streams._tails.owned() == {0, 1}


def test_a_table_is_written_by_the_journal_alone(table: JournaledTable) -> None:
    with pytest.raises(TypeError, match="by the journal, in batches"):
        table[b"k"] = b"v"
    with pytest.raises(TypeError, match="by the journal, in batches"):
        del table[b"k"]


async def test_what_needs_not_wait_is_run_without_a_task() -> None:
    """Faust asks for each record whether its stream took it, or the flow was suspended first."""
    faust_seams.install()
    consumer: Any = object.__new__(driver.Consumer)
    before = asyncio.all_tasks()
    made: list[set[Any]] = []

    async def take() -> None:
        made.append(asyncio.all_tasks() - before)

    await consumer.wait_first(take(), asyncio.Event().wait())
    assert made == [set()]


async def test_what_has_to_wait_is_waited_for_until_the_flow_is_suspended() -> None:
    faust_seams.install()
    consumer: Any = mode.Service()
    wait_first = driver.Consumer.wait_first
    room, suspended, taken = asyncio.Event(), asyncio.Event(), []

    async def take() -> None:
        for number in range(3):
            await room.wait()
            await asyncio.sleep(0)
            taken.append(number)

    waiting = asyncio.ensure_future(wait_first(consumer, take(), suspended.wait()))
    await asyncio.sleep(0)
    assert not waiting.done()
    room.set()
    await waiting
    assert taken == [0, 1, 2]

    room.clear()
    waiting = asyncio.ensure_future(wait_first(consumer, take(), suspended.wait()))
    await asyncio.sleep(0)
    suspended.set()
    await waiting
    assert taken == [0, 1, 2], "it was taken back"

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await wait_first(consumer, fail(), asyncio.Event().wait())

"""The archive agent against a real Kafka and a real Postgres: nothing lost, doubled or hidden."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec import Raw
from pydantic import SecretStr
from structlog.testing import capture_logs

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.postgres import Postgres
from schemas.codec import decode_event, encode_fact
from schemas.events import ArchiveAdvanced, LogEvent
from schemas.facts import Fact, MessageAccepted, RequestRefused, UndoAccepted
from schemas.limits import WATERMARKS_PER_EVENT_MAX
from schemas.topics import topic_shapes
from streams.agents.archive import ArchiveAgent
from streams.settings import StreamSettings
from streams.topics import prepare_topics

PATIENCE_S = 20
PARTITIONS = 2
NASTY = r'[{"type":"t","b":1e999999,"b":-0,"a":"\u0000 \ud83d\ude00 ünï ‮ 😀"}]'


def body_of(seq: int, parts: str = NASTY) -> bytes:
    return (
        f'{{"version":{seq},"token_count":3,"inserted_at":"2026-11-23T10:00:00.123Z",'
        f'"role":"user","parts":{parts},"metadata":{{}},"seq":{seq}}}'
    ).encode()


def accepted(seq: int, parts: str = NASTY) -> MessageAccepted:
    return MessageAccepted(f"e-{seq}", Raw(body_of(seq, parts)))


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"never came about: {what}"
        await asyncio.sleep(0.05)


class World:
    """Topics of its own, a database of its own, and a hot tail that is a plain dict."""

    def __init__(self, kafka: str, prefix: str, postgres: str, **changes: Any) -> None:
        self.settings = StreamSettings(
            kafka=kafka,
            prefix=prefix,
            partitions=PARTITIONS,
            postgres=SecretStr(postgres),
            archive_flush_interval_ms=50,
            tail_keep=17,
            **changes,
        )
        prepare_topics(
            self.settings.librdkafka(),
            topic_shapes(self.settings.topics, PARTITIONS),
            replication=1,
            timeout_s=PATIENCE_S,
        )
        self.postgres = postgres
        self.hot: dict[tuple[str, int], bytes] = {}
        self.agents: list[ArchiveAgent] = []
        self._producer = Producer(self.settings.librdkafka())

    def agent(self, *partitions: int) -> ArchiveAgent:
        """A started one, which owns these partitions."""
        agent = ArchiveAgent(self.settings, self._hot)
        agent.start()
        agent.own(set(partitions))
        self.agents.append(agent)
        return agent

    def _hot(self, _partition: int, context: str, seqs: range) -> list[tuple[int, bytes]]:
        asyncio.get_running_loop()
        return [(seq, self.hot[context, seq]) for seq in seqs if (context, seq) in self.hot]

    def write(self, context: str, *facts: Fact, partition: int = 0) -> None:
        for fact in facts:
            value = encode_fact(fact, fact_id="f", subject=context)
            self.write_bytes(context.encode(), value, partition)
        assert self._producer.flush(PATIENCE_S) == 0

    def write_bytes(self, key: bytes | None, value: bytes | None, partition: int = 0) -> None:
        self._producer.produce(self.settings.topics.facts, value, key, partition)
        assert self._producer.flush(PATIENCE_S) == 0

    def transactional(self) -> Producer:
        producer = Producer(
            {**self.settings.librdkafka(), "transactional.id": self.settings.topics.facts}
        )
        producer.list_topics(timeout=PATIENCE_S)
        producer.init_transactions(PATIENCE_S)
        return producer

    def rows(self) -> dict[tuple[str, int], bytes]:
        found = self._found("select context_id, seq, body::text from messages order by 1, 2")
        return {(context, seq): body.encode() for context, seq, body in found}

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def _found(self, query: str) -> list[tuple[Any, ...]]:
        """Nothing before an agent has made the tables."""
        try:
            return self.sql(query)
        except psycopg.errors.UndefinedTable:
            return []

    def position(self, partition: int = 0) -> int | None:
        found = self._found(
            f"select position from archive_positions where partition = {partition} "
            f"and topic = '{self.settings.topics.facts}'"
        )
        return found[0][0] if found else None

    def announced(self, partition: int = 0) -> list[LogEvent]:
        """Every event in a partition of the log."""
        topic = self.settings.topics.log
        consumer = Consumer(
            {
                **self.settings.librdkafka(),
                "group.id": "reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition(topic, partition, 0)])
        events = []
        while (record := consumer.poll(PATIENCE_S)) is not None:
            if (error := record.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                break
            events.append(decode_event(record.key(), record.value()))
        consumer.close()
        return events

    def watermarks(self, partition: int = 0) -> dict[str, int]:
        """The last word on each context."""
        found: dict[str, int] = {}
        for event in self.announced(partition):
            assert isinstance(event.data, ArchiveAdvanced)
            found.update(event.data.watermarks)
        return found

    async def until_settled(self, agent: ArchiveAgent, context: str, seq: int) -> None:
        await until(lambda: self.watermarks().get(context) == seq, f"{context} archived to {seq}")
        await until(lambda: agent.status.pending_rows == 0, "nothing pending")

    def end_of_facts(self, partition: int = 0) -> int:
        consumer = Consumer({**self.settings.librdkafka(), "group.id": "reader"})
        at = TopicPartition(self.settings.topics.facts, partition)
        _, end = consumer.get_watermark_offsets(at, timeout=PATIENCE_S)
        consumer.close()
        return int(end)

    async def stop(self) -> None:
        for agent in self.agents:
            await asyncio.to_thread(agent.stop)
        self.agents.clear()


@pytest.fixture
async def world(kafka: str, prefix: str, database: str) -> AsyncIterator[World]:
    world = World(kafka, prefix, database)
    yield world
    await world.stop()


async def test_messages_land_byte_for_byte_and_the_log_is_told(world: World) -> None:
    world.write("c ä", *(accepted(seq) for seq in range(1, 6)))
    world.write("d", RequestRefused("e", 1, "conflict", "no"), accepted(1), partition=1)
    agent = world.agent(0, 1)
    await world.until_settled(agent, "c ä", 5)
    await until(lambda: world.watermarks(1) == {"d": 1}, "the other partition")

    expected = {("c ä", seq): body_of(seq) for seq in range(1, 6)} | {("d", 1): body_of(1)}
    assert world.rows() == expected
    (event,) = world.announced(1)
    assert (event.subject, event.source) == ("archive/1", "/rewindow/archive")
    assert event.id.startswith("archive/1/")
    assert event.data == ArchiveAdvanced((("d", 1),), 17)
    assert agent.notes() == ()


async def test_undos_land_too_and_a_restart_repeats_none(world: World) -> None:
    world.write("c", accepted(1), accepted(2), UndoAccepted("u-1", 3, 2, 2, 1))
    await world.until_settled(world.agent(0), "c", 2)
    world.write("c", UndoAccepted("u-2", 4, 1, 1, 1), UndoAccepted("bad", 5, 0, 1, 1))
    end = world.end_of_facts()
    await until(lambda: world.position() == end, "an undo alone moves the position")
    await world.stop()
    told = len(world.announced())

    world.write("c", UndoAccepted("u-1", 3, 2, 2, 1), accepted(3))
    await world.until_settled(world.agent(0), "c", 3)
    found = world.sql(
        "select context_id, version, from_seq, to_seq, event_id from undos order by 2"
    )
    assert found == [("c", 3, 2, 2, "u-1"), ("c", 4, 1, 1, "u-2")]
    assert len(world.announced()) == told + 1, "of an undo nobody is told"


async def test_what_cannot_be_understood_stops_nothing(world: World) -> None:
    world.write("c", accepted(1))
    world.write_bytes(b"c", b"\xff not json")
    world.write_bytes(None, None)
    world.write_bytes(b"c", b'{"specversion":"1.0","type":"of.the.future.v9"}')
    world.write("c", MessageAccepted("e", Raw(b'{"no":"message"}')), accepted(2))
    agent = world.agent(0)
    await world.until_settled(agent, "c", 2)
    assert list(world.rows()) == [("c", 1), ("c", 2)]


async def test_facts_of_aborted_transactions_are_not_archived(world: World) -> None:
    producer, topic = world.transactional(), world.settings.topics.facts
    for seq, commits in ((1, True), (2, False), (2, True)):
        parts = NASTY if commits else '[{"type":"aborted"}]'
        producer.begin_transaction()
        value = encode_fact(accepted(seq, parts), fact_id="f", subject="c")
        producer.produce(topic, value, b"c", 0)
        producer.flush(PATIENCE_S)
        if commits:
            producer.commit_transaction(PATIENCE_S)
        else:
            producer.abort_transaction(PATIENCE_S)
    agent = world.agent(0)
    await world.until_settled(agent, "c", 2)
    assert world.rows() == {("c", 1): body_of(1), ("c", 2): body_of(2)}
    # The position goes beyond the transaction's marker, so that retention can't overtake it.
    end = world.end_of_facts()
    await until(lambda: world.position() == end, "the position at the very end")


async def test_a_restart_goes_on_where_it_was_and_repeats_nothing(world: World) -> None:
    world.write("c", accepted(1), accepted(2))
    await world.until_settled(world.agent(0), "c", 2)
    await world.stop()
    assert world.position() == world.end_of_facts()
    told = len(world.announced())

    world.write("d", accepted(1))
    await world.until_settled(world.agent(0), "d", 1)
    later = [event.data for event in world.announced()[told:]]
    assert later == [ArchiveAdvanced((("d", 1),), 17)]


async def test_only_what_is_owned_is_archived(world: World) -> None:
    agent = world.agent(0)
    world.write("c", accepted(1))
    world.write("d", accepted(1), partition=1)
    await world.until_settled(agent, "c", 1)
    agent.own({1})
    await until(lambda: world.watermarks(1) == {"d": 1}, "the partition that came")
    world.write("c", accepted(2))
    world.write("d", accepted(2), partition=1)
    await until(lambda: world.watermarks(1) == {"d": 2}, "it goes on")
    assert list(world.rows()) == [("c", 1), ("d", 1), ("d", 2)]
    agent.own({0, 1})
    await world.until_settled(agent, "c", 2)


async def test_two_nodes_with_one_partition_double_nothing(world: World) -> None:
    one, other = world.agent(0), world.agent(0)
    for seq in range(1, 201):
        world.write(f"c-{seq % 3}", accepted((seq + 2) // 3))
    end = world.end_of_facts()
    await until(lambda: world.position() == end, "everything is archived and announced")
    assert len(world.rows()) == 200
    for agent in (one, other):
        assert (agent.status.differing, agent.status.holes) == (0, 0)


async def test_very_many_contexts_are_told_in_several_events(world: World) -> None:
    contexts = WATERMARKS_PER_EVENT_MAX + 1
    producer = Producer(world.settings.librdkafka())
    for number in range(contexts):
        name = f"c-{number}"
        value = encode_fact(accepted(1), fact_id="f", subject=name)
        producer.produce(world.settings.topics.facts, value, name.encode(), 0)
    producer.flush(PATIENCE_S)
    world.agent(0)
    await until(lambda: len(world.watermarks()) == contexts, "every context is announced")
    assert len({event.id for event in world.announced()}) == len(world.announced())


DIES_BEFORE_THE_ANNOUNCEMENT = """
import asyncio, os, sys
from streams.agents.archive import ArchiveAgent
from streams.archive.herald import Herald
from streams.settings import StreamSettings

Herald.announce = lambda *_: os._exit(9)

async def main():
    agent = ArchiveAgent(StreamSettings(), lambda *_: [])
    agent.start()
    agent.own({0})
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_death_between_commit_and_announcement_is_made_good(world: World) -> None:
    world.write("c", accepted(1), accepted(2))
    environment = os.environ | {
        "REWINDOW_KAFKA": world.settings.kafka,
        "REWINDOW_PREFIX": world.settings.prefix,
        "REWINDOW_POSTGRES": world.postgres,
        "REWINDOW_ARCHIVE_FLUSH_INTERVAL_MS": "50",
    }
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", DIES_BEFORE_THE_ANNOUNCEMENT],
        env=environment,
        cwd=Path(__file__).parents[3],
        timeout=PATIENCE_S,
        check=False,
    )
    assert died.returncode == 9
    assert len(world.rows()) == 2
    assert world.announced() == []

    agent = world.agent(0)
    await world.until_settled(agent, "c", 2)
    assert world.rows() == {("c", 1): body_of(1), ("c", 2): body_of(2)}
    assert agent.status.differing == 0


async def test_another_body_under_a_seq_is_reported_and_the_first_stays(world: World) -> None:
    agent = world.agent(0)
    world.write("c", accepted(1))
    await world.until_settled(agent, "c", 1)
    with capture_logs() as logs:
        world.write("c", accepted(1, '[{"type":"other"}]'), accepted(2))
        await world.until_settled(agent, "c", 2)
    assert world.rows()["c", 1] == body_of(1)
    assert agent.status.differing == 1
    assert [e["seq"] for e in logs if e["log_level"] == "error"] == [1]
    assert "differ" in " ".join(agent.notes())


async def test_a_hole_stops_the_watermark_and_is_healed_from_the_hot_tail(world: World) -> None:
    agent = world.agent(0)
    world.write("c", accepted(1), accepted(4), accepted(5), accepted(7))
    await until(lambda: agent.status.holes == 1, "the hole is seen")
    await until(lambda: len(world.rows()) == 4, "what is above it is kept")
    assert world.watermarks() == {"c": 1}
    assert "lacks messages of 1 context" in " ".join(agent.notes())

    world.hot = {("c", seq): body_of(seq) for seq in range(1, 8)}
    await until(lambda: world.watermarks() == {"c": 7}, "the watermark at the end")
    await until(lambda: agent.status.holes == 0, "no hole is left")
    assert world.rows() == world.hot
    assert world.sql("select seq from messages where event_id is null order by 1") == [
        (2,),
        (3,),
        (6,),
    ]
    assert agent.notes() == ()


async def test_a_hole_is_still_known_after_a_restart(world: World) -> None:
    world.agent(0)
    world.write("c", accepted(1), accepted(3))
    await until(lambda: world.watermarks() == {"c": 1}, "the watermark below the hole")
    await world.stop()
    world.hot = {("c", 2): body_of(2)}
    world.agent(0)
    await until(lambda: world.watermarks() == {"c": 3}, "the hole is healed")


async def test_a_hole_that_was_filled_before_a_death_is_announced_after_it(world: World) -> None:
    world.agent(0)
    world.write("c", accepted(1), accepted(3))
    await until(lambda: world.watermarks() == {"c": 1}, "the watermark below the hole")
    await world.stop()
    # What a healer leaves that dies between its commit and its announcement.
    with psycopg.connect(world.postgres) as connection:
        connection.execute(
            "insert into messages select context_id, 2, version, role, body, token_count, "
            "event_id, inserted_at from messages where seq = 1"
        )
        connection.execute("update archived_contexts set archived_seq = 3")
    agent = world.agent(0)
    await until(lambda: world.watermarks() == {"c": 3}, "the watermark after all")
    await until(lambda: world.sql("select 1 from archive_holes") == [], "the hole is closed")
    assert agent.status.holes == 0


async def test_facts_that_retention_took_are_an_alarm_and_are_healed(world: World) -> None:
    agent = world.agent(0)
    world.write("c", accepted(1))
    await world.until_settled(agent, "c", 1)
    await world.stop()
    world.write("c", accepted(2), accepted(3), accepted(4))
    before = TopicPartition(world.settings.topics.facts, 0, 3)
    # Held in a variable: a client that nobody holds is gone before it has an answer.
    admin = AdminClient(world.settings.librdkafka())
    admin.delete_records([before])[before].result()
    world.hot = {("c", seq): body_of(seq) for seq in range(1, 5)}
    with capture_logs() as logs:
        agent = world.agent(0)
        await world.until_settled(agent, "c", 4)
    assert "facts were deleted" in " ".join(e["event"] for e in logs if e["log_level"] == "error")
    assert world.rows() == world.hot


async def test_a_facts_topic_made_anew_is_an_alarm_and_is_read_from_its_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.agent(0)
    world.write("c", accepted(1))
    await world.until_settled(agent, "c", 1)
    await world.stop()
    world.sql("update archive_positions set position = 1000000 returning 1")
    world.write("c", accepted(2))
    monkeypatch.setattr("streams.agents.archive.END_PATIENCE_S", 0.5)
    with capture_logs() as logs:
        agent = world.agent(0)
        await world.until_settled(agent, "c", 2)
    assert "made anew" in " ".join(e["event"] for e in logs if e["log_level"] == "error")
    await until(lambda: world.position() == 2, "the position is a true one again")


async def test_postgres_may_go_and_come_back(kafka: str, prefix: str, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.hold()
    postgres = Postgres(folder)
    await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(postgres.wait_ready)
    world = World(kafka, prefix, postgres.url, archive_batch_size=10)
    try:
        agent = world.agent(0)
        world.write("c", accepted(1))
        await world.until_settled(agent, "c", 1)

        await asyncio.to_thread(postgres.stop)
        world.write("c", *(accepted(seq) for seq in range(2, 52)))
        await until(lambda: agent.status.problem is not None, "the outage is reported")
        assert "Postgres" in " ".join(agent.notes())
        assert agent.status.pending_rows <= 10

        await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(postgres.wait_ready)
        await world.until_settled(agent, "c", 51)
        assert world.rows() == {("c", seq): body_of(seq) for seq in range(1, 52)}
        await until(lambda: agent.status.problem is None, "the outage is over")
    finally:
        await world.stop()
        await asyncio.to_thread(postgres.stop)
        folder.release()


async def test_without_a_broker_it_says_so_and_stops_in_time(database: str) -> None:
    settings = StreamSettings(kafka="127.0.0.1:1", postgres=SecretStr(database))
    agent = ArchiveAgent(settings, lambda *_: [])
    agent.start()
    agent.own({0})
    await until(lambda: agent.status.problem is not None, "the outage is reported")
    assert "Kafka" in " ".join(agent.notes())
    await asyncio.to_thread(agent.stop)


@pytest.fixture
async def patient(kafka: str, prefix: str, database: str) -> AsyncIterator[World]:
    """A world in which a batch waits for others for an hour."""
    world = World(kafka, prefix, database)
    world.settings = world.settings.model_copy(update={"archive_flush_interval_ms": 3_600_000})
    yield world
    await world.stop()


async def test_what_is_pending_is_written_at_the_stop(patient: World) -> None:
    agent = patient.agent(0)
    patient.write("c", accepted(1))
    await until(lambda: agent.status.pending_rows == 1, "the message is pending")
    assert patient.rows() == {}
    await patient.stop()
    assert list(patient.rows()) == [("c", 1)]
    assert patient.watermarks() == {"c": 1}
    assert patient.position() == 1


async def test_what_is_pending_of_a_partition_that_went_is_left_to_its_new_owner(
    patient: World,
) -> None:
    agent = patient.agent(0, 1)
    patient.write("c", UndoAccepted("u-1", 2, 1, 1, 1), accepted(1))
    patient.write("d", UndoAccepted("u-2", 2, 1, 1, 1), accepted(1), partition=1)
    await until(lambda: agent.status.pending_rows == 2, "both messages are pending")
    agent.own({1})
    await until(lambda: agent.status.pending_rows == 1, "one of them is let go")
    await patient.stop()
    assert list(patient.rows()) == [("d", 1)]
    assert patient.sql("select context_id from undos") == [("d",)]
    assert (patient.watermarks(0), patient.watermarks(1)) == ({}, {"d": 1})
    assert patient.position(0) is None


async def test_a_batch_is_written_when_it_is_large_enough(
    patient: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.agents.archive.BATCH_BYTES_MAX", 2 * len(body_of(1)))
    agent = patient.agent(0)
    patient.write("c", accepted(1))
    await until(lambda: agent.status.pending_rows == 1, "the message is pending")
    patient.write("c", accepted(2))
    await patient.until_settled(agent, "c", 2)

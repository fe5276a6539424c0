"""What an operator sees of the fold and the archive: every metric moves when its cause comes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from confluent_kafka import Producer
from msgspec import Raw
from pydantic import SecretStr

from schemas.codec import encode_fact
from schemas.facts import MessageAccepted
from streams.app import Streams
from streams.metrics import ROLES
from tests.support.deployment import Deployment
from tests.support.exposition import Samples, moved, samples_of
from tests.support.fold import append, archived, configure, message, patch, raw, undo
from tests.support.live_node import own_database
from tests.support.node import running_streams
from tests.support.tables import tables_of
from tests.support.wait import until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAIL_KEEP = 2


class Watched:
    """A node over a real broker and a real Postgres, and what it tells of itself."""

    def __init__(self, streams: Streams, deployment: Deployment, postgres: str) -> None:
        self.streams = streams
        self.deployment = deployment
        self.postgres = postgres

    def seen(self) -> Samples:
        return samples_of(self.streams.metrics.exposition().decode())

    async def until_seen(self, holds: Callable[[Samples], bool], what: str) -> Samples:
        async def found() -> Samples:
            samples = self.seen()
            return samples if holds(samples) else {}

        return await until_async(found, what)

    async def until_moved(self, before: Samples, by: Mapping[str, float]) -> Samples:
        """Wait until these have changed by so much; all the changes."""
        await self.until_seen(
            lambda now: all(now.get(name, 0) >= before.get(name, 0) + n for name, n in by.items()),
            f"moved by {by}",
        )
        change = moved(before, self.seen())
        assert {name: change[name] for name in by} == by
        return change

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def publish(self, context: str, *facts: MessageAccepted) -> None:
        """Facts that no fold has made."""
        producer = Producer(self.deployment.kafka)
        for fact in facts:
            value = encode_fact(fact, fact_id="f", subject=context)
            producer.produce(self.deployment.topics.facts, value, context.encode(), 0)
        assert producer.flush(20) == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(
    kafka: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Watched]:
    with own_database(postgres_url) as postgres:
        deployment = Deployment(
            kafka,
            tmp_path_factory.getbasetemp().name + "-metrics",
            tmp_path_factory.mktemp("metrics"),
            partitions=1,
            postgres=SecretStr(postgres),
            tail_keep=TAIL_KEEP,
            archive_flush_interval_ms=50,
        )
        async with running_streams(deployment.prepare()) as streams:
            yield Watched(streams, deployment, postgres)


def accepted(seq: int) -> MessageAccepted:
    body = (
        f'{{"version":{seq},"token_count":1,"inserted_at":"2026-11-23T10:00:00Z","role":"user",'
        f'"parts":[],"metadata":{{}},"seq":{seq}}}'
    )
    return MessageAccepted("e", Raw(body.encode()))


async def test_messages_are_counted_by_role_and_weighed(node: Watched) -> None:
    before = node.seen()
    roles = (*ROLES, "user", "poet")
    said = [message(role=role, tokens=100) for role in roles]
    again = append(*said, context="roles", key="once")
    node.deployment.write(again, again)
    change = await node.until_moved(before, {"rewindow_folded_events_total": 2})
    counted = {name: n for name, n in change.items() if name.startswith("rewindow_messages_append")}
    assert counted == {
        f'rewindow_messages_append_total{{role="{role}"}}': 1.0 + (role == "user")
        for role in (*ROLES, "other")
    }
    assert change["rewindow_messages_token_count_count"] == len(roles)
    assert change["rewindow_messages_token_count_sum"] == 100 * len(roles)
    assert change['rewindow_messages_token_count_bucket{le="100.0"}'] == len(roles)
    assert 'rewindow_messages_token_count_bucket{le="30.0"}' not in change


async def test_messages_that_are_undone_are_counted_once(node: Watched) -> None:
    before = node.seen()
    said = append(message(), message(), message(), context="undone")
    back = undo(2, context="undone", key="back")
    node.deployment.write(said, back, back, undo(2, context="undone"))
    change = await node.until_moved(before, {"rewindow_folded_events_total": 4})
    assert change["rewindow_messages_undone_total"] == 2


async def test_refusals_of_the_fold_are_counted_by_their_code(node: Watched) -> None:
    before = node.seen()
    node.deployment.write(
        append(context="refused"),
        append(context="refused", if_version=7),
        patch(raw({}), context="unheard of"),
        archived({"refused": 99}),
    )
    await node.until_moved(
        before,
        {
            'rewindow_refused_total{reason="conflict"}': 1,
            'rewindow_refused_total{reason="not_found"}': 1,
            'rewindow_refused_total{reason="invalid_request"}': 1,
        },
    )


async def test_records_that_nobody_understands_are_counted(node: Watched) -> None:
    # A watermark of what was said before is an event of its own.
    before = await node.until_seen(
        lambda seen: seen["rewindow_archive_lag"] == 0, "everything is archived and announced"
    )
    node.deployment.write_bytes((b"c", b"garbage"), (None, b"{}"))
    change = await node.until_moved(before, {"rewindow_dead_total": 2})
    assert "rewindow_folded_events_total" not in change


async def test_holes_in_the_log_are_counted(node: Watched) -> None:
    before = node.seen()
    producer = node.deployment.transactional()
    node.deployment.transact(producer, append(context="holes"))
    node.deployment.transact(producer, append(context="holes"), commit=False)
    node.deployment.transact(producer, append(context="holes"))
    # Three markers, and a record of a transaction that was aborted.
    await node.until_moved(before, {"rewindow_holes_total": 4})


async def test_only_what_lies_between_events_is_a_hole(
    deployment: Deployment, tmp_path: Path
) -> None:
    producer = deployment.transactional()
    for commits in (True, False, True):
        deployment.transact(producer, append(context="holes"), commit=commits)
    async with tables_of(deployment, tmp_path / "tables") as tables:
        await tables.own(0)
        await tables.read_on()
        found = samples_of(tables.metrics.exposition().decode())
    assert found["rewindow_folded_events_total"] == 2
    assert found["rewindow_holes_total"] == 4


async def test_batches_are_timed_until_they_are_durable(node: Watched) -> None:
    before = node.seen()
    node.deployment.write(append(context="flushed"))
    name = "rewindow_flush_duration_seconds"
    after = await node.until_seen(lambda now: now[f"{name}_count"] > before[f"{name}_count"], name)
    assert after[f"{name}_sum"] > before[f"{name}_sum"]


async def test_what_is_not_folded_yet_is_lag(node: Watched) -> None:
    name = 'rewindow_fold_lag_events{partition="0"}'
    lane = node.streams._journal.lanes[0]
    async with lane.turn:
        node.deployment.write(*(append(context="lag") for _ in range(5)))
        await node.until_seen(lambda now: now[name] >= 5, "five events wait")
    await node.until_seen(lambda now: now[name] == 0, "nothing waits")


async def test_what_is_archived_is_counted_and_what_waits_is_seen(node: Watched) -> None:
    await node.until_seen(lambda now: now["rewindow_archive_lag"] == 0, "all is archived")
    before = node.seen()
    with psycopg.connect(node.postgres) as blocking:
        blocking.execute("lock table messages in access exclusive mode")
        for context in ("a", "b"):
            said = [message(tokens=7) for _ in range(3)]
            node.deployment.write(append(*said, context=f"archived {context}"))
        # The archive may be held up with the first of them in its hands.
        waiting = await node.until_seen(
            lambda now: now["rewindow_archive_lag"] == 6 and now["rewindow_archive_pending_rows"],
            "six messages are not archived, and some of them are pending",
        )
        rows, contexts = (waiting[f"rewindow_archive_pending_{n}"] for n in ("rows", "contexts"))
        assert 1 <= contexts <= 2
        assert contexts <= rows <= 3 * contexts
        assert waiting["rewindow_archive_tail_size"] == before["rewindow_archive_tail_size"] + 6
        assert waiting["rewindow_contexts"] == before["rewindow_contexts"] + 2

    await node.until_seen(lambda now: now["rewindow_archive_lag"] == 0, "all is archived")
    after = node.seen()
    rows, size, tokens = node.sql(
        "select count(*), sum(octet_length(body::text)), sum(token_count) from messages "
        "where context_id like 'archived %'"
    )[0]
    change = moved(before, after)
    assert (rows, tokens) == (6, 42)
    assert after["rewindow_archive_pending_rows"] == 0
    assert after["rewindow_archive_pending_contexts"] == 0
    assert change["rewindow_archive_inserted_total"] == rows
    assert change["rewindow_archive_bytes_inserted_total"] == size
    assert change["rewindow_archive_llm_token_count"] == tokens
    # While Postgres did not answer, a batch may have been given up and offered again.
    assert change["rewindow_archive_attempted_total"] >= rows
    assert change["rewindow_archive_bytes_attempted_total"] >= size
    assert change["rewindow_archive_flush_duration_seconds_count"] >= 1


async def test_messages_that_leave_the_tail_are_counted(node: Watched) -> None:
    before = node.seen()
    small = configure(context="trimmed", budget=10)
    node.deployment.write(small, append(*(message(tokens=9) for _ in range(8)), context="trimmed"))
    await node.until_moved(before, {"rewindow_archive_trimmed_total": 8 - TAIL_KEEP})
    await node.until_moved(before, {"rewindow_archive_tail_size": TAIL_KEEP})


async def test_what_was_there_already_is_attempted_and_not_inserted(node: Watched) -> None:
    node.publish("twice", accepted(1))
    await node.until_seen(lambda now: now["rewindow_archive_pending_rows"] == 0, "all is written")
    await until_async(lambda: _has(node, "twice", 1), "it is in Postgres")
    before = node.seen()
    node.publish("twice", accepted(1))
    change = await node.until_moved(before, {"rewindow_archive_attempted_total": 1})
    size = len(bytes(accepted(1).message))
    assert change["rewindow_archive_bytes_attempted_total"] == size
    assert not [name for name in change if "inserted" in name or "alarms" in name]


async def test_holes_and_alarms_of_the_archive_are_seen(node: Watched) -> None:
    before = node.seen()
    node.publish("lacking", accepted(3))
    await node.until_seen(lambda now: now["rewindow_archive_holes"] == 1, "a hole")
    node.publish("lacking", accepted(1), accepted(2))
    await node.until_seen(lambda now: now["rewindow_archive_holes"] == 0, "it was filled")

    other = bytes(accepted(1).message).replace(b"user", b"tool")
    node.publish("lacking", MessageAccepted("e", Raw(other)))
    await node.until_moved(before, {'rewindow_archive_alarms_total{kind="differing"}': 1})
    node.publish("lacking", MessageAccepted("no column holds \0", accepted(4).message))
    await node.until_moved(before, {'rewindow_archive_alarms_total{kind="refused"}': 1})


async def test_a_lost_partition_is_counted(deployment: Deployment, tmp_path: Path) -> None:
    async with (
        tables_of(deployment, tmp_path / "former") as former,
        tables_of(deployment, tmp_path / "owner") as owner,
    ):
        await former.own(0)
        await owner.own(0)
        deployment.write(append())
        await former.read_on()
        await owner.read_on()
        fenced = (
            samples_of(tables.metrics.exposition().decode())["rewindow_fenced_total"]
            for tables in (former, owner)
        )
        assert tuple(fenced) == (1, 0)


async def test_a_node_that_starts_again_knows_its_tail_and_counts_from_zero(
    deployment: Deployment,
) -> None:
    deployment.write(
        append(message(), message(), message(), context="a"),
        append(context="b"),
        archived({"a": 2}),
    )

    def all_known(streams: Streams) -> tuple[float, float, float]:
        found = samples_of(streams.metrics.exposition().decode())
        names = ("rewindow_archive_tail_size", "rewindow_archive_lag", "rewindow_contexts")
        size, lag, contexts = (found[name] for name in names)
        return size, lag, contexts

    async with running_streams(deployment) as streams:
        await until_async(lambda: asyncio.sleep(0, all_known(streams) == (4, 2, 2)), "all folded")
    async with running_streams(deployment) as again:
        assert all_known(again) == (4, 2, 2)
        found = samples_of(again.metrics.exposition().decode())
        assert found['rewindow_messages_append_total{role="user"}'] == 0
        assert found["rewindow_folded_events_total"] == 0


async def _has(node: Watched, context: str, seq: int) -> bool:
    query = f"select 1 from messages where context_id = '{context}' and seq = {seq}"
    return bool(node.sql(query))

"""A transaction: all of a batch is seen, or nothing; and only a partition's newest owner writes."""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.topics import TAILS, WINDOWS
from streams.tables import transaction
from streams.tables.lane import Outbound
from streams.tables.overlay import Writes
from streams.tables.restore import restore
from streams.tables.transaction import Fenced, TransactionWriter
from tests.support.deployment import Deployment
from tests.support.tables import OFFSET_KEY, open_db
from tests.support.wait import until

NewWriter = Callable[[], TransactionWriter]


@pytest.fixture
def new_writer(deployment: Deployment) -> NewWriter:
    """Every writer has the name of partition 0's owner, as it has on every node."""

    def make() -> TransactionWriter:
        writer = TransactionWriter(
            deployment.kafka, f"{deployment.settings.prefix}-0", 0, patience_s=30
        )
        writer.open()
        return writer

    return make


def rows_of(deployment: Deployment, *, heads: Writes, rows: Writes) -> dict[str, Writes]:
    topics = deployment.topics
    return {topics.changelog(TAILS): rows, topics.changelog(WINDOWS): heads}


def seen(deployment: Deployment) -> list[tuple[bytes | None, bytes | None]]:
    """What a reader of committed records finds in any of the topics."""
    topics = deployment.topics
    return [
        (record.key(), record.value())
        for topic in (topics.changelog(TAILS), topics.changelog(WINDOWS), topics.facts, topics.dead)
        for record in deployment.read(topic)
    ]


def sees(deployment: Deployment, *records: tuple[bytes | None, bytes | None]) -> None:
    """Assert that this is what is found: soon, as a broker answers before it has written every
    marker."""
    until(lambda: seen(deployment) == list(records), f"{records} are seen")


def test_everything_is_seen_and_the_last_offsets_are_known(
    deployment: Deployment, new_writer: NewWriter
) -> None:
    writer = new_writer()
    fact = Outbound(deployment.topics.facts, b"f", b"fact", {})
    dead = Outbound(deployment.topics.dead, None, None, {"reason": "ü".encode()})
    rows = rows_of(deployment, heads={b"h": b"1"}, rows={b"a": b"1", b"b": None})
    topics = list(rows)
    assert writer.commit(rows, [fact, dead]) == {topics[0]: 1, topics[1]: 0}
    sees(deployment, (b"a", b"1"), (b"b", None), (b"h", b"1"), (b"f", b"fact"), (None, None))
    assert deployment.dead()[0].headers() == [("reason", "ü".encode())]
    # 0-1 and 0, then a marker in each.
    assert writer.commit(rows, []) == {topics[0]: 4, topics[1]: 2}


def test_the_former_owner_is_fenced_and_nothing_of_it_is_seen(
    deployment: Deployment, new_writer: NewWriter, tmp_path: Any
) -> None:
    former = new_writer()
    former.commit(rows_of(deployment, heads={b"h": b"1"}, rows={b"a": b"1"}), [])
    sees(deployment, (b"a", b"1"), (b"h", b"1"))
    owner = new_writer()
    fact = Outbound(deployment.topics.facts, b"f", b"late", {})
    with pytest.raises(Fenced, match="partition 0"):
        former.commit(rows_of(deployment, heads={b"h": b"late"}, rows={b"late": b"1"}), [fact])
    sees(deployment, (b"a", b"1"), (b"h", b"1"))

    owner.commit(rows_of(deployment, heads={b"h": b"2"}, rows={b"a": b"2"}), [])
    db = open_db(tmp_path / "db")
    restore(deployment.kafka, deployment.topics.changelog(TAILS), {0: db}, OFFSET_KEY)
    assert db[b"a"] == b"2"
    assert db.get(b"late") is None
    db.close()


def test_a_batch_that_was_produced_when_its_owner_was_fenced_is_not_seen(
    deployment: Deployment, new_writer: NewWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = new_writer()
    end = former._end

    def fenced_before_the_end(deadline: float) -> None:
        former._producer.flush(20)
        new_writer()
        end(deadline)

    monkeypatch.setattr(former, "_end", fenced_before_the_end)
    fact = Outbound(deployment.topics.facts, b"f", b"late", {})
    with pytest.raises(Fenced):
        former.commit(rows_of(deployment, heads={b"h": b"1"}, rows={b"a": b"1"}), [fact])
    assert seen(deployment) == []


def test_what_a_dead_owner_left_open_is_aborted_by_the_next(
    deployment: Deployment, new_writer: NewWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = new_writer()

    def dies(_deadline: float) -> None:
        former._producer.flush(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(former, "_end", dies)
    with pytest.raises(KeyboardInterrupt):
        former.commit(rows_of(deployment, heads={b"h": b"dead"}, rows={b"a": b"dead"}), [])
    owner = new_writer()
    owner.commit(rows_of(deployment, heads={b"h": b"1"}, rows={b"a": b"1"}), [])
    sees(deployment, (b"a", b"1"), (b"h", b"1"))


def test_a_transaction_that_has_to_be_aborted_is_tried_again(
    deployment: Deployment, new_writer: NewWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = new_writer()
    end, tries = writer._end, []

    def loses_its_records_once(deadline: float) -> None:
        tries.append(deadline)
        if len(tries) == 1:
            writer._producer.purge()
        end(deadline)

    monkeypatch.setattr(writer, "_end", loses_its_records_once)
    rows = rows_of(deployment, heads={b"h": b"1"}, rows={b"a": b"1", b"b": b"1"})
    last = writer.commit(rows, [Outbound(deployment.topics.facts, b"f", b"fact", {})])
    assert len(tries) == 2
    sees(deployment, (b"a", b"1"), (b"b", b"1"), (b"h", b"1"), (b"f", b"fact"))
    for topic, offset in last.items():
        assert deployment.read(topic)[-1].offset() == offset


def test_more_rows_than_the_queue_takes_are_written_in_order(
    deployment: Deployment, new_writer: NewWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "QUEUED_RECORDS_MAX", 50)
    rows: Writes = {b"%d" % n: b"%d" % n for n in range(333)}
    facts = [Outbound(deployment.topics.facts, b"f", b"%d" % n, {}) for n in range(120)]
    new_writer().commit(rows_of(deployment, heads={b"h": b"1"}, rows=rows), facts)
    written = deployment.read(deployment.topics.changelog(TAILS))
    assert [record.key() for record in written] == list(rows)
    published = deployment.read(deployment.topics.facts)
    assert [record.value() for record in published] == [fact.value for fact in facts]


def test_a_writer_that_is_given_up_does_not_wait_for_room(
    deployment: Deployment, new_writer: NewWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "QUEUED_RECORDS_MAX", 2)
    writer = new_writer()
    writer.abandon()
    rows: Writes = {b"%d" % n: b"" for n in range(1000)}
    with pytest.raises(Fenced, match="given up"):
        writer.commit(rows_of(deployment, heads={b"h": b"1"}, rows=rows), [])
    assert seen(deployment) == []

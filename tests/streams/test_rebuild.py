"""A rebuild gives the same tables, whatever was there before and wherever it is interrupted."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.topics import TAILS, WINDOWS
from streams import rebuild as rebuilding
from streams.core.rows import LOG_KEY
from streams.progress import Progress, Watch
from streams.rebuild import CannotRebuild, Rebuilt, rebuild
from streams.side_by_side import Folder
from streams.tables import cut as cutting
from streams.tables.digest import Digest
from streams.tables.restore import TablesUnfit
from streams.tables.transaction import TransactionWriter
from streams.topics import TopicsUnfit
from tests.support.deployment import Deployment
from tests.support.fold import append
from tests.support.history import history
from tests.support.tables import tables_of
from tests.support.wait import until

ROWS_PER_TRANSACTION = 5
MANY = 2000
"""As many as are stored at once."""


class StartingAdmin(AdminClient):
    """Its broker can't tell who is in a group when it is asked for the first time."""

    asked = 0

    def describe_consumer_groups(self, group_ids: Any, **more: Any) -> Any:
        StartingAdmin.asked += 1
        if StartingAdmin.asked > 1:
            return super().describe_consumer_groups(group_ids, **more)
        answer: Future[Any] = Future()
        answer.set_exception(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)))
        return {group_ids[0]: answer}


class Killed(Exception):
    """The process ends here."""


class Writer(TransactionWriter):
    """Ends the process before a transaction; `left` says how many there are before it."""

    left = 1000

    def commit(self, rows: Mapping[str, Any], outbound: Sequence[Any]) -> dict[str, int]:
        if Writer.left == 0:
            raise Killed
        Writer.left -= 1
        return super().commit(rows, outbound)


@pytest.fixture(autouse=True)
def small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_PER_TRANSACTION", ROWS_PER_TRANSACTION)
    monkeypatch.setattr(rebuilding, "TransactionWriter", Writer)
    monkeypatch.setattr(Writer, "left", 1000)


def rebuilt(deployment: Deployment, scratch: Path) -> list[Rebuilt]:
    scratch.mkdir(exist_ok=True)
    return list(rebuild(deployment.settings, scratch))


async def on_disk(deployment: Deployment, disk: Path) -> Digest:
    """What a node that starts over this disk has, once it has caught up."""
    async with tables_of(deployment, disk) as tables:
        await tables.own(0)
        await tables.read_on()
        return tables.digest()


def test_a_broker_that_can_not_tell_yet_who_runs_is_asked_again(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "AdminClient", StartingAdmin)
    monkeypatch.setattr(StartingAdmin, "asked", 0)
    deployment.write(append())
    assert sum(done.events for done in rebuilt(deployment, tmp_path / "scratch")) == 1
    assert StartingAdmin.asked >= 2


async def test_what_was_wrong_is_right_again_on_any_disk(
    deployment: Deployment, tmp_path: Path
) -> None:
    """What the old disk holds is void, and a row that nobody wrote goes with it."""
    deployment.write(*history())
    async with tables_of(deployment, tmp_path / "old") as tables:
        lane = await tables.own(0)
        await tables.read_on()
        lane.tails.put(b"stranger", b"foreign")
        lane.windows.put(b"parts", None)
        deployment.write(append(context="long"))
        await tables.read_on()
        expected = deployment.expected()
        assert tables.digest() != expected.digest

    (done,) = rebuilt(deployment, tmp_path / "scratch")
    assert done.events == expected.digest.position + 1
    assert done.rows >= expected.digest.contexts + expected.digest.rows
    assert deployment.changelog_digest() == expected.digest
    assert await on_disk(deployment, tmp_path / "old") == expected.digest
    assert await on_disk(deployment, tmp_path / "new") == expected.digest
    assert deployment.facts() == expected.facts, "none was published again"


async def test_wherever_it_is_interrupted_no_node_starts_with_half_of_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    """A node has all of the tables, or none and folds the log, or it says what is to be done."""
    deployment.write(*history())
    expected = deployment.expected().digest
    refused = 0
    for transactions in range(100):
        Writer.left = transactions
        try:
            # Each goes on with what the one before has folded.
            rebuilt(deployment, tmp_path / "scratch")
        except Killed:
            pass
        else:
            break
        disk = tmp_path / f"disk {transactions}"
        try:
            assert await on_disk(deployment, disk) == expected
        except TablesUnfit as exc:
            says = str(exc)
            refused += "a rebuild was interrupted; run `rewindow rebuild` again" in says
    assert refused >= 3, "among rows, between rows and heads, before the position"
    assert deployment.changelog_digest() == expected
    assert await on_disk(deployment, tmp_path / "disk 1") == expected


async def test_a_cut_that_was_interrupted_leaves_no_policy_behind(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.write(*history())
    compact_only = cutting.compact_only
    monkeypatch.setattr(cutting, "compact_only", _killed)
    with pytest.raises(Killed):
        rebuilt(deployment, tmp_path / "scratch")
    with pytest.raises(TopicsUnfit, match=r"cleanup\.policy"):
        deployment.prepare()
    monkeypatch.setattr(cutting, "compact_only", compact_only)
    rebuilt(deployment, tmp_path / "scratch again")
    deployment.prepare()
    assert deployment.changelog_digest() == deployment.expected().digest


class DyingFolder(Folder):
    """Its process, and ours, end after the first word of it."""

    def heard(self, watch: Watch) -> int | None:
        word = super().heard(watch)
        self.stop()
        if word is None:
            raise Killed
        return word


def test_what_was_folded_before_an_interruption_is_not_folded_again(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_PER_TRANSACTION", 20_000)
    deployment.write(*(append(context=f"c-{n % 9}", key=f"{n}") for n in range(3 * MANY)))
    monkeypatch.setattr(rebuilding, "Folder", DyingFolder)
    with pytest.raises(Killed):
        rebuilt(deployment, tmp_path / "scratch")
    monkeypatch.setattr(rebuilding, "Folder", Folder)
    seen: list[Progress] = []
    (done,) = rebuild(deployment.settings, tmp_path / "scratch", seen.append)
    assert MANY <= 3 * MANY - done.events < 3 * MANY
    assert seen[0] == (0, 3 * MANY - done.events, 3 * MANY)
    assert seen[-1] == (0, 3 * MANY, 3 * MANY)
    assert deployment.changelog_digest() == deployment.expected().digest


def test_what_was_written_before_an_interruption_is_not_written_again(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, prefix, tmp_path / "node", partitions=3).prepare()
    deployment.write(*(append(context=f"c-{n}") for n in range(30)))
    scratch = tmp_path / "scratch"
    whole = rebuilt(deployment, scratch)
    assert sum(done.events for done in whole) == 30
    assert all(done.rows for done in whole)
    again = sorted(rebuilt(deployment, scratch))
    assert again == [Rebuilt(partition, 0, 0) for partition in range(3)]
    foreign = deployment.transactional()
    foreign.begin_transaction()
    foreign.produce(deployment.topics.changelog(TAILS), b"foreign", b"stranger", 1)
    foreign.commit_transaction(20)
    rows = {done.partition: done.rows > 0 for done in rebuilt(deployment, scratch)}
    assert rows == {0: False, 1: True, 2: False}
    for partition in range(3):
        assert deployment.changelog_digest(partition) == deployment.expected(partition).digest


def test_what_other_rules_or_another_log_have_left_behind_is_thrown_away(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.write(*history())
    scratch = tmp_path / "scratch"
    (first,) = rebuilt(deployment, scratch)
    monkeypatch.setattr(rebuilding, "RULES", rebuilding.RULES + 1)
    (second,) = rebuilt(deployment, scratch)
    assert second.events == first.events
    deployment.tamper(WINDOWS, LOG_KEY, None)
    deployment.make_log_anew(*history(), append())
    (third,) = rebuilt(deployment, scratch)
    assert third.events == first.events, "as far as the tables had come, of whatever log that was"
    assert deployment.changelog_digest() == deployment.expected(end=first.events).digest


async def test_of_a_log_that_was_made_anew_all_is_left_to_the_nodes(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Nothing of what comes of it is published yet. What is on their disks is void."""
    deployment.write(*history())
    await on_disk(deployment, tmp_path / "node's")
    facts = len(deployment.facts())
    deployment.make_log_anew(append(), *history(), append())
    with pytest.raises(TablesUnfit, match="run `rewindow rebuild`"):
        await on_disk(deployment, tmp_path / "node's")
    for _ in range(2):
        assert [done.events for done in rebuilt(deployment, tmp_path / "scratch")] == [0]
    expected = deployment.expected()
    for disk in ("node's", "empty"):
        assert await on_disk(deployment, tmp_path / disk) == expected.digest
    assert deployment.facts()[facts:] == expected.facts
    assert rebuilt(deployment, tmp_path / "another scratch")[0].events == deployment.end()
    assert await on_disk(deployment, tmp_path / "node's") == expected.digest
    assert deployment.changelog(WINDOWS)[LOG_KEY] == deployment.log_id()


async def test_what_no_node_has_folded_is_left_to_the_nodes(
    deployment: Deployment, tmp_path: Path
) -> None:
    """What comes of it is not published yet."""
    deployment.write(*history())
    await on_disk(deployment, tmp_path / "node's")
    deployment.write(append(context="long"), append(context="later"))
    (done,) = rebuilt(deployment, tmp_path / "scratch")
    assert done.events == deployment.end() - 2
    # Nor is it where that can't be told by the changelogs, after an interruption.
    Writer.left = 2
    deployment.write(append(context="later"))
    with pytest.raises(Killed):
        rebuilt(deployment, tmp_path / "other scratch")
    Writer.left = 1000
    rebuilt(deployment, tmp_path / "other scratch")
    assert deployment.changelog_digest().position == deployment.end() - 4
    digest = await on_disk(deployment, tmp_path / "node's")
    assert digest == deployment.expected().digest
    assert deployment.facts() == deployment.expected().facts


async def test_changelogs_that_are_lost_are_made_again(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.write(*history())
    expected = await on_disk(deployment, tmp_path / "before")
    topics = [deployment.topics.changelog(table) for table in (WINDOWS, TAILS)]
    admin = AdminClient(deployment.kafka)
    admin.delete_topics(topics)
    until(lambda: not admin.list_topics(timeout=10).topics.keys() & set(topics), "they are gone")
    rebuilt(deployment, tmp_path / "scratch")
    assert await on_disk(deployment, tmp_path / "empty") == expected


def test_a_log_without_its_first_events_is_left_alone(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.write(*history())
    rebuilt(deployment, tmp_path / "scratch")
    before = deployment.changelog_digest()
    deployment.delete_before(deployment.topics.log, 5)
    with pytest.raises(CannotRebuild, match="partition 0 of the log begins at event 5"):
        rebuilt(deployment, tmp_path / "scratch again")
    assert deployment.changelog_digest() == before


def test_partitions_are_those_of_the_log(deployment: Deployment, tmp_path: Path) -> None:
    told = deployment.settings.model_copy(update={"partitions": 9})
    assert [done.partition for done in rebuild(told, tmp_path)] == [0]
    deployment.prepare()


def _killed(*_args: object) -> None:
    raise Killed

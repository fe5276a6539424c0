"""Tables from their changelogs: every committed row, every deletion, nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rocksdict import Rdict

from schemas.topics import TAILS, WINDOWS
from streams.tables import restore as restoring
from streams.tables.cut import cut
from streams.tables.restore import TablesUnfit, restore
from streams.tables.transaction import TransactionWriter
from tests.support.deployment import Deployment
from tests.support.tables import OFFSET_KEY, open_db


class Changelog:
    """The changelog of `tails`, and one RocksDB for each partition of it."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.deployment = deployment
        self.topic = deployment.topics.changelog(TAILS)
        self.dbs: dict[int, Rdict] = {}
        self._folder = folder

    def open(self, *partitions: int, disk: str = "disk") -> None:
        for partition in partitions:
            path = self._folder / f"{disk}-{partition}"
            path.mkdir(parents=True, exist_ok=True)
            self.dbs[partition] = open_db(path)

    def close(self) -> None:
        for db in self.dbs.values():
            db.close()
        self.dbs = {}

    def writer(self, partition: int = 0) -> TransactionWriter:
        name = f"{self.deployment.settings.prefix}-{partition}"
        writer = TransactionWriter(self.deployment.kafka, name, partition, patience_s=30)
        writer.open()
        return writer

    def cut(self, writer: TransactionWriter, partition: int = 0) -> None:
        """What a rebuild begins with."""
        admin = AdminClient(self.deployment.kafka)
        topics = [self.deployment.topics.changelog(table) for table in (WINDOWS, TAILS)]
        cut(admin, topics, partition, writer)

    def restore(self) -> int:
        return restore(self.deployment.kafka, self.topic, self.dbs, OFFSET_KEY)

    def rows(self, partition: int = 0) -> dict[bytes, bytes]:
        rows = dict(self.dbs[partition].items())
        rows.pop(OFFSET_KEY, None)
        return rows

    def offset(self, partition: int = 0) -> int:
        return int(self.dbs[partition][OFFSET_KEY])


@pytest.fixture
def changelog(deployment: Deployment, tmp_path: Path) -> Iterator[Changelog]:
    changelog = Changelog(deployment, tmp_path)
    changelog.open(0)
    yield changelog
    changelog.close()


def test_an_empty_changelog_is_an_empty_table(changelog: Changelog) -> None:
    assert changelog.restore() == 0
    assert changelog.rows() == {}


def test_an_empty_disk_gets_every_row_and_every_deletion(changelog: Changelog) -> None:
    writer = changelog.writer()
    writer.commit({changelog.topic: {b"a": b"1", b"b": b"1", b"c": b"1"}}, [])
    writer.commit({changelog.topic: {b"b": b"2", b"a": None, b"\0position": b"7"}}, [])
    # 0-2, marker, 4-6, marker
    assert changelog.restore() == 6
    assert changelog.rows() == {b"b": b"2", b"c": b"1", b"\0position": b"7"}
    assert changelog.offset() == 7, "the marker behind the last row counts as reached"


def test_a_disk_that_has_some_gets_the_rest(changelog: Changelog) -> None:
    writer = changelog.writer()
    writer.commit({changelog.topic: {b"a": b"1", b"b": b"1"}}, [])
    changelog.restore()
    writer.commit({changelog.topic: {b"a": None, b"c": b"2"}}, [])
    changelog.close()
    changelog.open(0)
    assert changelog.restore() == 2
    assert changelog.rows() == {b"b": b"1", b"c": b"2"}
    assert changelog.restore() == 0


def test_rows_of_aborted_transactions_are_left_out(changelog: Changelog) -> None:
    changelog.writer().commit({changelog.topic: {b"a": b"1"}}, [])
    stranger = changelog.deployment.transactional()
    stranger.begin_transaction()
    stranger.produce(changelog.topic, b"never", b"a", 0)
    stranger.flush()
    stranger.abort_transaction()
    assert changelog.restore() == 1
    assert changelog.rows() == {b"a": b"1"}
    assert changelog.offset() == 3, "the end is a marker behind records that do not count"


def test_partitions_are_restored_side_by_side(kafka: str, prefix: str, tmp_path: Path) -> None:
    deployment = Deployment(kafka, prefix, tmp_path, partitions=3).prepare()
    changelog = Changelog(deployment, tmp_path)
    changelog.open(0, 1, 2)
    for partition in (0, 2):
        rows = {b"%d" % n: b"%d" % partition for n in range(3000)}
        changelog.writer(partition).commit({changelog.topic: rows}, [])
    assert changelog.restore() == 6000
    assert [len(changelog.rows(p)) for p in (0, 1, 2)] == [3000, 0, 3000]
    assert set(changelog.rows(2).values()) == {b"2"}
    changelog.close()


def test_what_a_rebuild_cut_off_does_not_survive_on_a_disk(changelog: Changelog) -> None:
    writer = changelog.writer()
    writer.commit({changelog.topic: {b"old": b"1"}}, [])
    changelog.restore()
    changelog.cut(writer)
    assert changelog.restore() == 0
    assert changelog.rows() == {}
    writer.commit({changelog.topic: {b"new": b"2"}}, [])
    changelog.restore()
    assert changelog.rows() == {b"new": b"2"}


def test_a_changelog_that_was_made_anew_is_no_match_for_the_disk(
    changelog: Changelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    changelog.dbs[0][OFFSET_KEY] = b"7"
    changelog.writer().commit({changelog.topic: {b"a": b"1"}}, [])
    monkeypatch.setattr(restoring, "MARKER_S", 0.2)
    with pytest.raises(TablesUnfit) as unfit:
        changelog.restore()
    assert str(unfit.value) == (
        f"the local table is at offset 7 of {changelog.topic}/0, which ends at 2: the topic was "
        "made anew; delete the node's data folder and start again"
    )
    assert changelog.rows() == {}


def test_a_changelog_that_is_cut_while_it_is_read_is_an_error(
    changelog: Changelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table with a hole that nobody knows of would be worse."""
    writer = changelog.writer()
    writer.commit({changelog.topic: {b"a": b"1", b"b": b"1"}}, [])
    changelog.cut(writer)
    monkeypatch.setattr(restoring, "_span", lambda *_: (0, 3))
    with pytest.raises(KafkaException):
        changelog.restore()

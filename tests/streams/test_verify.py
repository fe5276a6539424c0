"""Verification finds what is not as the log says, and nothing else, while everything goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import TAILS, WINDOWS
from streams import verify as verifying
from streams.settings import KafkaConfig, StreamSettings
from streams.tables.digest import Digest
from streams.tables.restore import TablesUnfit
from streams.tables.source import Bounds, Source
from streams.topics import TopicsUnfit
from streams.verify import NeverQuiet, Verdict, verify
from tests.support.deployment import Deployment
from tests.support.fold import append
from tests.support.history import history
from tests.support.tables import Tables, tables_of
from tests.support.wait import until


@pytest.fixture
async def tables(deployment: Deployment, tmp_path: Path) -> AsyncIterator[Tables]:
    """A partition with a history, folded."""
    deployment.write(*history())
    async with tables_of(deployment, tmp_path) as tables:
        await tables.own(0)
        await tables.read_on()
        yield tables


def verified(deployment: Deployment, folder: Path, *live: Digest) -> list[Verdict]:
    scratch = folder / "scratch"
    scratch.mkdir()
    return list(verify(deployment.settings, live, scratch))


async def test_tables_and_changelogs_are_what_the_log_says(
    tables: Tables, deployment: Deployment, tmp_path: Path
) -> None:
    expected = deployment.expected().digest
    assert verified(deployment, tmp_path, tables.digest()) == [
        Verdict("tables", expected, expected),
        Verdict("changelogs", expected, expected),
    ]
    assert expected.contexts == 3


async def test_tables_may_be_behind_the_changelogs(
    tables: Tables, deployment: Deployment, tmp_path: Path
) -> None:
    before = tables.digest()
    deployment.write(append(context="long"))
    await tables.read_on()
    of_tables, of_changelogs = verified(deployment, tmp_path, before)
    assert (of_tables.agrees, of_changelogs.agrees) == (True, True)
    assert of_changelogs.found.position == of_tables.found.position + 1


@pytest.mark.parametrize(
    ("table", "key", "differs"),
    [(TAILS, b"long\0m\0\0\0\0\0\0\0\1", "tails"), (WINDOWS, b"stranger", "windows")],
)
async def test_a_row_that_nobody_wrote_is_found(
    tables: Tables, deployment: Deployment, tmp_path: Path, table: str, key: bytes, differs: str
) -> None:
    deployment.tamper(table, key, b"foreign")
    of_tables, of_changelogs = verified(deployment, tmp_path, tables.digest())
    assert of_tables.agrees
    assert not of_changelogs.agrees
    same = {"windows", "tails"} - {differs}
    for name in same:
        assert getattr(of_changelogs.found, name) == getattr(of_changelogs.expected, name)


async def test_a_row_that_is_missing_is_found(
    tables: Tables, deployment: Deployment, tmp_path: Path
) -> None:
    deployment.tamper(WINDOWS, b"parts", None)
    verdict = verified(deployment, tmp_path)[0]
    assert not verdict.agrees
    assert verdict.expected is not None
    assert (verdict.found.contexts, verdict.expected.contexts) == (2, 3)


class Busy(Source):
    """Of the changelogs; the partition is written to whenever somebody asks where they end."""

    tables: Tables
    loop: asyncio.AbstractEventLoop
    times = 0

    def bounds(self, partition: int, timeout_s: float = 10) -> Bounds:
        ends = super().bounds
        found = ends(partition, timeout_s)
        if self._topic == Busy.tables.deployment.topics.changelog(TAILS) and Busy.times > 0:
            Busy.times -= 1
            self.write()
            # The marker of its transaction may come a moment later.
            until(lambda: ends(partition, timeout_s).end > found.end, "it can be seen")
        return found

    @classmethod
    def write(cls) -> None:
        async def folded() -> None:
            cls.tables.deployment.write(append(context="long"))
            await cls.tables.read_on()

        asyncio.run_coroutine_threadsafe(folded(), cls.loop).result()


@pytest.fixture
async def busy(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> type[Busy]:
    monkeypatch.setattr(verifying, "Source", Busy)
    monkeypatch.setattr(Busy, "tables", tables, raising=False)
    monkeypatch.setattr(Busy, "loop", asyncio.get_running_loop(), raising=False)
    return Busy


async def test_what_is_written_while_the_changelogs_are_read_is_no_disagreement(
    deployment: Deployment, tmp_path: Path, busy: type[Busy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither between the looks at their ends, nor between the reading of one and of the other:
    what is read is of one moment, so that it is right at once."""
    restores: list[str] = []
    restore = verifying.restore

    def restore_and_write(kafka: KafkaConfig, topic: str, *more: Any, **named: Any) -> int:
        rows = restore(kafka, topic, *more, **named)
        busy.write()
        restores.append(topic)
        return rows

    monkeypatch.setattr(verifying, "restore", restore_and_write)
    monkeypatch.setattr(busy, "times", 1)
    (verdict,) = await asyncio.to_thread(verified, deployment, tmp_path)
    assert (busy.times, len(restores)) == (0, 2)
    assert verdict.agrees
    assert verdict.found.position == deployment.end() - 3


async def test_a_partition_that_is_never_quiet_is_given_up(
    deployment: Deployment, tmp_path: Path, busy: type[Busy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy, "times", 1000)
    monkeypatch.setattr(verifying, "QUIET_S", 0)
    with pytest.raises(NeverQuiet, match="verify again"):
        await asyncio.to_thread(verified, deployment, tmp_path)


async def test_without_the_first_events_nothing_is_proven(
    tables: Tables, deployment: Deployment, tmp_path: Path
) -> None:
    deployment.delete_before(deployment.topics.log, 5)
    verdicts = verified(deployment, tmp_path, tables.digest())
    assert [verdict.expected for verdict in verdicts] == [None, None]
    assert not any(verdict.agrees for verdict in verdicts)


async def test_a_log_that_was_made_anew_proves_nothing(
    tables: Tables, deployment: Deployment, tmp_path: Path
) -> None:
    deployment.make_log_anew(*history(), append())
    with pytest.raises(TablesUnfit, match="deleted and made anew since; run `rewindow rebuild`"):
        verified(deployment, tmp_path, tables.digest())


def test_partitions_are_those_of_the_log(deployment: Deployment, tmp_path: Path) -> None:
    told = deployment.settings.model_copy(update={"partitions": 9})
    verdicts = list(verify(told, [], tmp_path))
    assert [verdict.found.partition for verdict in verdicts] == [0]
    assert verdicts[0].agrees, "an empty log gives empty tables"


def test_where_there_is_no_log_that_is_said(kafka: str, tmp_path: Path) -> None:
    nowhere = StreamSettings(kafka=kafka, prefix="nobody")
    with pytest.raises(TopicsUnfit, match=r"no topic nobody\.log .* REWINDOW_PREFIX"):
        next(verify(nowhere, [], tmp_path))

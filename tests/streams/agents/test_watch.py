"""The watch: a partition that stands still below the end of the log is fed from the log itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException
from structlog.testing import capture_logs

from streams.agents import watch as watches
from streams.agents.watch import LagWatch
from streams.tables.restore import TablesUnfit
from streams.tables.source import Bounds
from tests.support.deployment import Deployment
from tests.support.fold import append, messages
from tests.support.tables import Tables, tables_of

NOTICED_S = 60


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "PERIOD_S", 0.01)
    monkeypatch.setattr(watches, "PERIOD_WHILE_BEHIND_S", 0.01)


@pytest.fixture
async def tables(deployment: Deployment, tmp_path: Path) -> AsyncIterator[Tables]:
    async with tables_of(deployment, tmp_path / "tables") as tables:
        yield tables


@pytest.fixture
async def watch(tables: Tables) -> AsyncIterator[LagWatch]:
    watch = LagWatch(tables.journal, tables.source, tables.agent)
    running = asyncio.create_task(watch.run())
    yield watch
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_records_that_faust_keeps_to_itself_are_folded(
    tables: Tables, deployment: Deployment, watch: LagWatch
) -> None:
    """On an idle partition nothing would ever make it deliver them."""
    deployment.write(append(*messages(1)), append(*messages(2)))
    lane = await tables.own(0)
    deployment.is_exact([await tables.folded()])
    assert lane.caught_up
    deployment.write(append(*messages(3)))
    deployment.is_exact([await tables.folded()])
    assert lane.end == 3


async def test_a_marker_at_the_end_of_the_log_is_passed(
    tables: Tables, deployment: Deployment, watch: LagWatch
) -> None:
    await tables.own(0)
    deployment.transact(deployment.transactional(), append(*messages(1)), commit=False)
    deployment.is_exact([await tables.folded()])


async def test_a_partition_that_went_is_left_alone(
    tables: Tables, deployment: Deployment, watch: LagWatch
) -> None:
    lane = await tables.own(0)
    tables.journal.forget()
    deployment.write(append())
    for _ in range(5):
        await watch._look(lane)
    assert lane.next == 0


async def test_a_log_that_is_made_anew_is_noticed_although_nobody_tells(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust assigns nothing where the new one is there before it has looked for the old one."""
    monkeypatch.setattr(watches, "LOG_PERIOD_S", 0.01)
    deployment.write(append(), append())
    await tables.own(0)
    await tables.read_on()
    running = asyncio.create_task(LagWatch(tables.journal, tables.source, tables.agent).run())
    await asyncio.to_thread(deployment.make_log_anew, *(append() for _ in range(9)))
    with pytest.raises(TablesUnfit, match="made anew since; run `rewindow rebuild`"):
        await asyncio.wait_for(running, NOTICED_S)


async def test_a_broker_that_falls_silent_is_told_of_once_until_it_answers() -> None:
    lane = SimpleNamespace(partition=0, next=4, end=4)
    answers: list[Any] = [KafkaException("no"), KafkaException("no"), Bounds(0, 4), Bounds(0, 4)]

    class Source:
        def bounds(self, _partition: int, _timeout_s: float) -> Bounds:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, Bounds)
            return answer

    journal: Any = SimpleNamespace(holds=lambda _lane: True, lanes={0: lane})
    agent: Any = None
    watch = LagWatch(journal, Source(), agent)  # type: ignore[arg-type]
    silences = []
    with capture_logs() as logs:
        while answers:
            await watch._look(lane)  # type: ignore[arg-type]
            silences.append(watch.silent_since)
    assert silences[0] is not None
    assert silences == [silences[0], silences[0], None, None]
    assert [entry["event"] for entry in logs] == [
        "the broker does not answer",
        "the broker answers again",
    ]

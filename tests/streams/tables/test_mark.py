"""The newest mark of a changelog is found wherever it lies."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.topics import WINDOWS
from streams.core.rows import LOG_KEY
from streams.tables import mark as marks
from streams.tables.mark import Mark, newest_mark
from streams.tables.source import Source
from tests.support.deployment import Deployment
from tests.support.fold import append
from tests.support.tables import tables_of


@pytest.fixture
def changelog(deployment: Deployment) -> Iterator[Source]:
    with closing(Source(deployment.kafka, deployment.topics.changelog(WINDOWS))) as changelog:
        yield changelog


async def test_it_says_how_far_which_log_is_folded(
    deployment: Deployment, changelog: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert newest_mark(changelog, 0) is None
    async with tables_of(deployment, tmp_path) as tables:
        await tables.own(0)
        for _ in range(2):
            deployment.write(append())
            await tables.read_on()
        deployment.is_exact([tables.digest()])
    assert newest_mark(changelog, 0) == Mark(2, deployment.log_id())
    for n in range(20):
        deployment.tamper(WINDOWS, b"%d" % n, b"foreign")
    monkeypatch.setattr(marks, "ROWS_LOOKED_BACK", 2)
    assert newest_mark(changelog, 0) == Mark(2, deployment.log_id())
    deployment.tamper(WINDOWS, LOG_KEY, None)
    monkeypatch.setattr(marks, "ROWS_LOOKED_BACK", 100)
    assert newest_mark(changelog, 0) == Mark(2, None)


def test_what_does_not_say_of_which_log_it_is_may_be_of_any() -> None:
    assert Mark(1, None).is_of(b"one")
    assert Mark(1, b"one").is_of(b"one")
    assert not Mark(1, b"other").is_of(b"one")

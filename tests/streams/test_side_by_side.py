"""A process that folds may end at any time; whoever waits for it is told, and asks again."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.progress import unwatched
from streams.settings import StreamSettings
from streams.side_by_side import Folder, FoldFailed


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """Its broker is nowhere, so that it never gets far."""
    folder = Folder(StreamSettings(kafka="127.0.0.1:1"), tmp_path)
    yield folder
    folder.stop()


def kill_it() -> None:
    (process,) = multiprocessing.active_children()
    process.kill()
    process.join()


ENDED = "folded partition 3 ended with status -9"


def test_one_that_ends_before_it_reads_what_to_do_is_no_riddle(folder: Folder) -> None:
    folder.fold(3, 10)
    kill_it()
    with pytest.raises(FoldFailed, match=ENDED):
        folder.heard(unwatched)


def test_one_that_has_ended_is_told_nothing(folder: Folder) -> None:
    kill_it()
    with pytest.raises(FoldFailed, match=ENDED):
        folder.fold(3, 10)

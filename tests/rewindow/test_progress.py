"""How far a command is: a bar for people, else a line now and then, and nothing of it in what the
command prints."""

import pytest

from rewindow import progress as showing
from rewindow.progress import progress
from streams.progress import Progress


def test_lines_say_how_far_all_partitions_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(showing, "now", lambda: float(next(clock)))
    with progress("folded") as watch:
        watch(Progress(0, 1_000, 2_000))
        watch(Progress(1, 0, 4_000))
        watch(Progress(0, 2_000, 2_000))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith("2,000 of 6,000 events folded, ")
    assert said.err.splitlines()[-1].endswith(" left")


def test_what_an_earlier_run_has_done_makes_nothing_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(showing, "now", lambda: 100.0)
    pace = showing.Pace()
    pace.add(Progress(0, 5_000, 10_000))
    monkeypatch.setattr(showing, "now", lambda: 110.0)
    pace.add(Progress(0, 6_000, 10_000))
    assert (pace.done, pace.of, pace.rate, pace.left_s) == (6_000, 10_000, 100.0, 40.0)


def test_soon_done_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("folded") as watch:
        watch(Progress(0, 1, 2))
    assert capsys.readouterr() == ("", "")


def test_at_a_terminal_there_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("folded") as watch:
        watch(Progress(0, 1_500, 2_000))
    said = capsys.readouterr()
    assert said.out == ""
    assert "1,500 of 2,000 events folded" in said.err

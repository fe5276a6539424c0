"""The documents that promise lines to run: every one of them is run, in order, against one `up`."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.up_command import UpCommand

ROOT = Path(__file__).parents[1]
CURL = Path(__file__).parent / "support" / "curl.py"
STOPPED = "rewindow rebuild"
"""What is in a block with these words is for when nothing runs."""


class Block(NamedTuple):
    """Some lines to run, in `sh` or in `python`."""

    document: str
    language: str
    lines: str


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text()
    found = re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(document, language, lines) for language, lines in found]


ALL = blocks("README.md") + blocks("docs/http.md")
LIVE = [block for block in ALL if STOPPED not in block.lines]
(REBUILD,) = (block for block in ALL if STOPPED in block.lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[UpCommand]:
    command = UpCommand(folder)
    try:
        command.wait_until_it_says("ready ")
        yield command
    finally:
        command.discard()


@pytest.fixture(scope="module")
def path(folder: Path) -> str:
    """Where the commands of the documents are found."""
    if shutil.which("curl") is None:
        stand_in = folder / "curl"
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} {CURL} "$@"\n')
        stand_in.chmod(0o755)
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(folder)])


def run(block: Block, up: UpCommand, folder: Path, path: str) -> str:
    """What the lines print. They fail where any of them does, and where a node refuses one."""
    lines = block.lines.replace("127.0.0.1:4000", f"127.0.0.1:{up.port}")
    command = ["python", "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REWINDOW_")}
    done = subprocess.run(
        [*command, lines],
        cwd=folder,
        env=kept | {"PATH": path, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{block.lines}\n{done.stdout}\n{done.stderr}"
    assert '{"error":' not in done.stdout, f"{block.lines}\n{done.stdout}"
    return done.stdout


@pytest.mark.parametrize("block", LIVE, ids=lambda block: f"{block.document}-{block.language}")
def test_the_lines_work_as_they_are(block: Block, up: UpCommand, folder: Path, path: str) -> None:
    said = run(block, up, folder, path)
    assert said or "producer.flush()" in block.lines, "whoever runs it sees something"


def test_what_is_for_when_nothing_runs_works_then(up: UpCommand, folder: Path, path: str) -> None:
    assert up.end(signal.SIGINT) == 0
    assert "events folded" in run(REBUILD, up, folder, path)


def test_every_test_that_the_readme_names_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    named = re.findall(r"\b(tests/[\w/]+\.py)(?:::(\w+))?", readme)
    assert len(named) >= 10
    for file, test in named:
        text = (ROOT / file).read_text()
        assert not test or f"def {test}(" in text, f"{file} has no {test}"


def test_what_the_documents_link_to_is_there() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} leads to {link}"

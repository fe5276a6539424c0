"""The examples of docs/import.md, run as they stand, and its table of formats."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from formats.recognising import FORMATS
from tests.support.commands import rewindow
from tests.support.live_node import LiveNode, live_node

PAGE = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
SAID = {"role": "user", "content": "Hello."}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("docs-import"), kafka, None) as node:
        yield node


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files that the page speaks of."""
    talks = [{"id": name, "messages": [SAID] * n} for name, n in (("a-17", 12), ("a-18", 31))]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    line = json.dumps(SAID)
    (tmp_path / "torn.jsonl").write_text(f"{line}\n{line[:9]}\n{line}\n")
    return tmp_path


@pytest.mark.parametrize("block", re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S))
def test_the_commands_say_what_the_page_says(block: str, node: LiveNode, folder: Path) -> None:
    typed, _, shown = block.partition("\n")
    command, *argv = typed.removeprefix("$ ").split()
    assert command == "rewindow"
    done = rewindow(*argv, cwd=folder, REWINDOW_URL=node.url)
    assert done.stdout + done.stderr == shown
    assert done.returncode == ("skipped line" in shown)


def test_every_format_is_there_with_where_it_looks() -> None:
    rows = re.findall(r"^\| `([a-z][a-z-]+)` \| [^|]+ \| ([^|]+) \|", PAGE, re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", where)) for name, where in rows}
    assert listed == {
        one.name: {*one.lists, *([one.system] if one.system else [])} for one in FORMATS.values()
    }

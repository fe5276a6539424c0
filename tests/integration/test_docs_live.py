"""The examples of docs/live.md, run as they stand."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.curl import parse
from tests.support.live_node import LiveNode, live_node

PAGE = Path(__file__).parents[2] / "docs" / "live.md"
WRITTEN_PORT = "127.0.0.1:4000"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("docs-live"), kafka, None) as node:
        message = {"role": "user", "parts": [{"type": "text", "text": "Good morning"}]}
        httpx.put(f"{node.url}/v1/contexts/demo").raise_for_status()
        httpx.post(
            f"{node.url}/v1/contexts/demo/messages", json={"message": message}
        ).raise_for_status()
        yield node


def block(language: str, node: LiveNode) -> str:
    """The one block of a language, for the node at hand."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found).replace(WRITTEN_PORT, node.url.removeprefix("http://"))


def test_the_websocket_example(node: LiveNode) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", block("python", node)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["message 1 1", "context 1 None"]


def test_the_events_example(node: LiveNode) -> None:
    asked = parse(shlex.split(block("sh", node))[1:])
    lines = []
    with httpx.stream(**asked.options()) as answer:
        for line in answer.iter_lines():
            if line:
                lines.append(line)
            if len(lines) == 3:
                break
    assert lines[0].startswith(":")
    assert lines[1] == "id: 1"
    assert lines[2].startswith('data: {"type":"message","version":1,"seq":1,')

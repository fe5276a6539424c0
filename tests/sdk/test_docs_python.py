"""The examples of docs/python.md, run as they stand, in order."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from rewindow_client.errors import REFUSALS
from tests.sdk.fake_model import FakeModel, says
from tests.support.live_node import LiveNode

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
TITLE_OR_BLOCK = re.compile(r"^## (.+?)$|^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

MODELS = {
    "OpenAI Agents SDK": FakeModel([says("On Monday.")]),
    "LangChain": GenericFakeChatModel(messages=iter([AIMessage("On Monday.")])),
}
SAID = {
    "": [
        "{'messages': [{'role': 'user', 'content': 'Where is my parcel?'}]}",
        r"\d+ tokens of \['Where is my parcel\?', 'It comes on Monday.'\]",
    ],
    "When something goes wrong": [r"2 if_version is 1, .*2.*"],
    "Following": ["1 Where is my parcel?", "2 It comes on Monday."],
    "Straight to the log": ["10 events"],
    "OpenAI Agents SDK": ["On Monday."],
    "LangChain": ["On Monday."],
}
"""What the block of each section prints, to the letter or as a pattern."""


def blocks() -> dict[str, str]:
    """The block of each section that has one."""
    found, section = {}, ""
    for title, block in TITLE_OR_BLOCK.findall(PAGE.read_text()):
        section = title or section
        if block:
            assert section not in found, "one a section"
            found[section] = block
    return found


def test_the_page_does_what_it_says(
    node: LiveNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    (tmp_path / ".rewindow").mkdir()
    endpoints = tmp_path / ".rewindow" / "endpoints.json"
    endpoints.write_text(json.dumps({"kafka": node.told["kafka"]}))
    assert blocks().keys() == SAID.keys()
    for section, block in blocks().items():
        lines = block.replace("http://127.0.0.1:4000", node.url)
        lines = lines.replace("producer=producer", f'producer=producer, topic="{log_of(node)}"')
        names: dict[str, Any] = {"__name__": section, "model": MODELS.get(section)}
        exec(compile(lines, section or "the first lines", "exec"), names)
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == len(SAID[section]), printed
        for one, expected in zip(printed, SAID[section], strict=True):
            assert one == expected or re.fullmatch(expected, one), one


def log_of(node: LiveNode) -> str:
    return f"{node.told['prefix']}.log"


def test_the_page_names_every_exception() -> None:
    text = PAGE.read_text()
    for kind in REFUSALS.values():
        assert f"`{kind.__name__}`" in text

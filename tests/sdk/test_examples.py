"""The examples run as they stand, against a live node, with models that need no network."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewindow_client import Context, Rewindow, text
from tests.sdk.fake_model import FakeModel, calls, says
from tests.support.live_node import LiveNode
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OFFLINE = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}


@pytest.fixture
def own(node: LiveNode, name: str) -> Iterator[Context]:
    with Rewindow(node.url) as client:
        yield client.context(name)


def started(example: str, node: LiveNode, name: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, EXAMPLES / example, "--url", node.url, "--context", name, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=OFFLINE,
    )


def test_the_terminal_chat_keeps_to_its_budget_and_goes_on_where_it_was(
    node: LiveNode, own: Context, name: str
) -> None:
    lines = [f"This is what I say as number {number}." for number in range(12)]
    for half in (lines[:6], lines[6:]):
        chat = started("terminal_chat.py", node, name, "--budget", "200")
        said, _ = chat.communicate("\n".join(half) + "\n", timeout=120)
        assert chat.returncode == 0
        assert said.count("I have heard") == 6
        assert f"The last one: {half[-1]}" in said
    assert [message.text for message in own.replay()][::2] == lines
    window = own.window()
    assert 0 < len(window.messages) < 24
    assert window.used_tokens <= 200
    assert "24 said" in said


async def test_what_tools_gave_leaves_the_window_first(
    node: LiveNode, own: Context, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    import tool_agent

    questions, turns = [], []
    for number in range(4):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"{number} " + "heavy " * 2000)
        questions.append(f"What is in {number}?")
        turns += [[calls("read_file", f"c{number}", path=str(path))], [says(f"Number {number}.")]]
    model = FakeModel(*turns)
    answers = await tool_agent.converse(node.url, name, questions, model)
    assert answers == [f"Number {number}." for number in range(4)]
    last = str(model.heard[-1])
    assert 2000 <= last.count("heavy") <= 4000, "of all that was read, the model hears the newest"
    assert all(question in last for question in questions), "and everything that was said"
    assert own.window().used_tokens <= tool_agent.BUDGET_TOKENS
    kept = [part for message in own.replay() for part in message.parts]
    assert [part["type"] for part in kept].count("tool-result") == 4, "the history has it all"


def test_the_summariser_compacts_when_that_is_needed(
    node: LiveNode, own: Context, name: str
) -> None:
    own.configure(token_budget=300, policy={"strategy": "manual"})
    workers = [started("summariser.py", node, name) for _twice in range(2)]
    try:
        assert [worker.stdout.readline() for worker in workers] == [f"listening to {name}\n"] * 2
        for number in range(60):
            own.append(text("user", f"This is what I say as number {number}."))
        until(lambda: not own.state().needs_compaction, "the window is small enough")
        own.delete()
        said = [worker.communicate(timeout=60)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert "compacted at version" in "".join(said)
    window = own.window()
    first: Any = window.segments[0]
    assert (first.type, first.from_seq) == ("summary", 1)
    assert window.messages[0].text.startswith("Before this: I have heard 1 messages.")
    assert window.messages[-1].text == "This is what I say as number 59."
    assert len(list(own.replay())) == 60

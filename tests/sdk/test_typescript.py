"""The TypeScript client: its own tests, run by node against a live node."""

import json
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.sdk.node_js import NODE_JS, QUIET, SDK, ran, tool
from tests.support.live_node import LiveNode, live_node

ROOT = Path(__file__).parents[2]
FILES = sorted([*SDK.glob("tests/*.test.ts"), *ROOT.glob("examples/web-chat/*.test.ts")])
TEST_TIMEOUT_MS = 120_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_its_own_tests_say(node: LiveNode, file: Path) -> None:
    timeout = f"--test-timeout={TEST_TIMEOUT_MS}"
    said = ran("--test", "--test-reporter=tap", timeout, file, REWINDOW_TEST_NODE=node.url)
    assert "# fail 0" in said
    assert "# pass 0" not in said


def test_a_follower_with_a_key_outlives_the_node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str
) -> None:
    folder = tmp_path_factory.mktemp("typescript")
    with live_node(folder, kafka, None, api_keys="first,second") as node:
        follower = subprocess.Popen(
            [NODE_JS, QUIET, SDK / "tests/follower.ts", node.url, "second", "demo"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert follower.stdout is not None
            said = iter(follower.stdout.readline, "")
            assert next(said) == "made\n"
            say(node, "One")
            assert next(said) == "One\n"
            node.end(signal.SIGKILL)
            node.begin()
            say(node, "Two")
            assert next(said) == "Two\n"
        finally:
            follower.kill()
            follower.communicate()


def say(node: LiveNode, words: str) -> None:
    message = {"role": "user", "parts": [{"type": "text", "text": words}]}
    url = f"{node.url}/v1/contexts/demo/messages"
    key = {"Authorization": "Bearer first"}
    answer = httpx.post(url, json={"message": message}, headers=key, timeout=60)
    assert answer.status_code == 201, answer.text


def test_the_types_are_those_of_the_contract(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.ts"
    ran(tool("openapi-typescript"), ROOT / "schemas/openapi.json", "--output", fresh)
    assert (SDK / "src/openapi.ts").read_text() == fresh.read_text(), "make contracts mends it"


def test_what_npm_fetches_is_pinned_and_no_address_with_it() -> None:
    assert "://" not in (SDK / "package-lock.json").read_text()
    package = json.loads((SDK / "package.json").read_text())
    assert "dependencies" not in package
    assert all(version[0].isdecimal() for version in package["devDependencies"].values())


def test_it_needs_nothing_that_a_browser_does_not_have(tmp_path: Path) -> None:
    ran(tool("tsc"), "--project", SDK / "tsconfig.build.json", "--outDir", tmp_path)
    built = {path.name: path.read_text() for path in tmp_path.glob("*.js")}
    assert {"index.js", "ai-sdk.js"} <= built.keys()
    for name, text in built.items():
        lines = [line for line in text.splitlines() if " from " in line]
        taken = [line for line in lines if line.startswith(("import", "export", "}"))]
        assert all(' from "./' in line for line in taken), name

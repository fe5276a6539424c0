"""The TypeScript of docs/typescript.md and of the README: typed, and run as it stands."""

import json
import re
from pathlib import Path

import pytest

from tests.sdk.node_js import SDK, ran, tool
from tests.support.live_node import LiveNode

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "typescript.md"
TITLE_OR_BLOCK = re.compile(r"^## (.+?)$|^```ts\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PACKAGE = {
    "rewindow-client": [str(SDK / "src/index.ts")],
    "rewindow-client/ai-sdk": [str(SDK / "src/ai-sdk.ts")],
}
TSCONFIG = {
    "extends": str(SDK / "tsconfig.json"),
    "compilerOptions": {
        "typeRoots": [str(SDK / "node_modules/@types")],
        "paths": PACKAGE,
        "noUnusedLocals": False,
    },
    "include": ["*.mts"],
}

MODEL = """
import { MockLanguageModelV4, convertArrayToReadableStream } from "ai/test";
const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
const finishReason = { unified: "stop", raw: undefined };
const model = new MockLanguageModelV4({
  doStream: async () => ({
    stream: convertArrayToReadableStream([
      { type: "text-start", id: "t" },
      { type: "text-delta", id: "t", delta: "On Monday." },
      { type: "text-end", id: "t" },
      { type: "finish", finishReason, usage },
    ] as any),
  }),
});
"""
CHAT = """
import { toUIMessages } from "rewindow-client/ai-sdk";
const asked = { id: "u1", role: "user", parts: [{ type: "text", text: "When?" }] };
for (const messages of [[asked], [asked]]) {
  const body = JSON.stringify({ id: "ui-chat", messages });
  const answer = await POST(new Request("http://chat/api/chat", { method: "POST", body }));
  console.log((await answer.text()).match(/"delta":"(.*?)"/)![1]);
}
console.log((await GET(new Request("http://chat/api/chat/ui-chat/stream"))).status);
for (const { role, parts } of toUIMessages(await client.existing("ui-chat").getTail())) {
  console.log(role, parts.length);
}
"""
AROUND = {"AI SDK": (MODEL, CHAT)}
"""What an application has around the block."""

SAID = {
    "": [
        '{"messages":[{"role":"user","content":"Where is my parcel?"}]}',
        "1 Where is my parcel?",
        "2 It comes on Monday.",
    ],
    "When something goes wrong": [r"2 if_version is 1, .*2.*"],
    "Following": ["1 Where is my parcel?", "2 It comes on Monday."],
    # Asked again, it is answered anew, and the second answer takes the place of the first.
    "AI SDK": ["On Monday.", "On Monday.", "204", "user 1", "assistant 2"],
}
"""What the block of each section prints, to the letter or as a pattern."""


def blocks(page: Path) -> dict[str, str]:
    """The block of each section that has one."""
    found, section = {}, ""
    for title, block in TITLE_OR_BLOCK.findall(page.read_text()):
        section = title or section
        if block:
            assert section not in found, "one a section"
            found[section] = block
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where modules find what they import."""
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for name in ("ai", "@types"):
        (modules / name).symlink_to(SDK / "node_modules" / name)
    (tmp_path / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    return tmp_path


def written(folder: Path, number: int, block: str, around: tuple[str, str], url: str) -> Path:
    """A module of the block and what is around it, for this node."""
    before, after = around
    file = folder / f"block{number}.mts"
    file.write_text(before + block.replace("http://127.0.0.1:4000", url) + after)
    return file


def printed(file: Path) -> list[str]:
    """What it prints when it is run: node knows nothing of paths."""
    lines = file.read_text()
    for name, (path,) in PACKAGE.items():
        lines = lines.replace(f'"{name}"', f'"{path}"')
    file.write_text(lines)
    return ran(file).splitlines()


def test_the_page_does_what_it_says(node: LiveNode, folder: Path) -> None:
    found = blocks(PAGE)
    assert found.keys() == SAID.keys()
    files = {
        section: written(folder, number, block, AROUND.get(section, ("", "")), node.url)
        for number, (section, block) in enumerate(found.items())
    }
    ran(tool("tsc"), "--project", folder)
    for section, file in files.items():
        lines = printed(file)
        assert len(lines) == len(SAID[section]), lines
        for one, expected in zip(lines, SAID[section], strict=True):
            assert one == expected or re.fullmatch(expected, one), one


def test_the_lines_of_the_readme_work_as_they_are(node: LiveNode, folder: Path) -> None:
    for number, block in enumerate(blocks(ROOT / "README.md").values()):
        file = written(folder, number, block, ("", ""), node.url)
        ran(tool("tsc"), "--project", folder)
        assert printed(file), "whoever runs it sees something"


def test_the_page_names_every_class() -> None:
    text = PAGE.read_text()
    errors = (SDK / "src/errors.ts").read_text()
    names = re.findall(r"^export class (\w+)", errors, re.MULTILINE)
    assert len(names) > 12
    for name in names:
        assert f"`{name}`" in text

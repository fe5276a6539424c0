"""Every example in docs/parts.md is asked of the API, and its table is what can be rendered."""

import re
from pathlib import Path

import msgspec
import pytest

from formats.parts import TYPES, Part
from formats.rendering import RENDERERS
from tests.support.http_pages import Example, answers_as_shown, sections

PAGE = Path(__file__).parents[1] / "docs" / "parts.md"
TEXT = PAGE.read_text()
FIRST = TEXT.index("\n## ")


@pytest.mark.parametrize(
    "examples", [pytest.param(found, id=title) for title, found in sections(PAGE)]
)
async def test_the_api_answers_what_the_page_says(examples: list[Example]) -> None:
    assert examples, "a section without an example"
    await answers_as_shown(examples)


async def test_so_does_its_beginning(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"## The beginning\n{TEXT[:FIRST]}")
    ((_, examples),) = sections(page)
    assert {example.path.rpartition("=")[2] for example in examples} >= RENDERERS.keys()
    await answers_as_shown(examples)


def test_every_type_is_there_with_its_fields() -> None:
    vocabulary = TEXT.partition("## The vocabulary\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", vocabulary, re.MULTILINE)[1:]
    listed = {kind: set(re.findall(r"`([a-z_]+)\??`", fields)) for kind, fields in rows}
    of_every = {"id", "provider_metadata"}
    assert listed == {
        kind: {field.encode_name for field in msgspec.structs.fields(part)} - of_every
        for kind, part in zip(TYPES, Part.__args__, strict=True)
    }

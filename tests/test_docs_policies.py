"""Every example in docs/policies.md is asked of the API, and answers what the page says."""

from pathlib import Path

import pytest

from tests.support.http_pages import Example, answers_as_shown, sections

PAGE = Path(__file__).parents[1] / "docs" / "policies.md"


@pytest.mark.parametrize(
    "examples", [pytest.param(found, id=title) for title, found in sections(PAGE)]
)
async def test_the_api_answers_what_the_page_says(examples: list[Example]) -> None:
    assert examples, "a section without an example"
    await answers_as_shown(examples)


def test_the_page_tells_what_people_meet() -> None:
    assert len(list(sections(PAGE))) == 8

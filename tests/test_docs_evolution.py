"""Every rule in docs/evolution.md names tests, and they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "evolution.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)


def test_the_tests_that_are_named_are_there() -> None:
    for path, name in NAMED:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), name


def test_every_section_names_one() -> None:
    _, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    without = [text.splitlines()[0] for text in sections if "::test_" not in text]
    assert without == ["An example"]

"""Pages whose examples are requests and their answers, asked of the API one after the other."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from api.app import make_api
from streams import encodings
from tests.support.memory_store import MemoryStore

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"(GET|PUT|POST) (\S+)\n(.*?)→ (\d{3})(.*?)(?:\n\n|\Z)", re.DOTALL)


class Example(NamedTuple):
    """A request and its answer; of `answer`, what stands there is enough. None: nothing is said."""

    method: str
    path: str
    body: str
    status: int
    answer: Any


def sections(page: Path) -> Iterator[tuple[str, list[Example]]]:
    """Each section of the page with its examples, in order."""
    _, *pieces = _SECTION.split(page.read_text())
    for title, text in zip(pieces[::2], pieces[1::2], strict=True):
        yield title, [one for block in _BLOCK.findall(text) for one in _examples(*block)]


def _examples(language: str, block: str) -> Iterator[Example]:
    assert language == "http", "a block that nobody runs"
    assert _EXAMPLE.sub("", block.rstrip("\n")).strip() == "", "all of it is read"
    for method, path, body, status, answer in _EXAMPLE.findall(block.rstrip("\n")):
        yield Example(method, path, body, int(status), json.loads(answer) if answer else None)


def is_in(shown: Any, whole: Any) -> bool:
    """Whether the page leaves out fields of objects at most, never items of lists."""
    if isinstance(shown, dict) and isinstance(whole, dict):
        return all(name in whole and is_in(shown[name], whole[name]) for name in shown)
    if isinstance(shown, list) and isinstance(whole, list):
        return len(shown) == len(whole) and all(map(is_in, shown, whole))
    return bool(shown == whole)


async def answers_as_shown(examples: list[Example]) -> None:
    """Assert that an API of its own answers what the page says."""
    transport = httpx.ASGITransport(make_api(MemoryStore(encodings.measure), encodings.measure))
    async with httpx.AsyncClient(transport=transport, base_url="http://memory") as client:
        for example in examples:
            answer = await client.request(example.method, example.path, content=example.body)
            assert answer.status_code == example.status, answer.text
            if example.answer is not None:
                assert is_in(example.answer, answer.json()), (example, answer.text)

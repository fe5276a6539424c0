"""The encodings: real vocabularies, any text, no network."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from streams import encodings
from streams.core.tokens import ENCODINGS, Measure, approximate, count_message, count_text, pieces

VOCABULARIES = [name for name in ENCODINGS if name != "approximate"]
MILLION = 1_000_000

HOSTILE = {
    "spaces": " " * MILLION,
    "spaces between words": "a" + " " * MILLION + "b",
    "wide spaces": "\u3000" * (MILLION // 3),
    "newlines": "\n" * MILLION,
    "a": "a" * MILLION,
    "capitals": "A" * MILLION,
    "digits": "1" * MILLION,
    "slashes": "/" * MILLION,
    "CJK": "的" * (MILLION // 3),
    "emoji": "😀" * (MILLION // 4),
    "joined emoji": "👩\u200d" * (MILLION // 7),
    "combining marks": "e" + "\u0301" * (MILLION // 2),
    "NUL": "\0" * MILLION,
}

NO_NETWORK = """
import sys

def refuse(event, args):
    if event.startswith("socket."):
        raise SystemExit(f"the network was touched: {event} {args}")

from streams import encodings
sys.addaudithook(refuse)
encodings.preload(["o200k_base", "cl100k_base", "approximate"])
print(encodings.measure("o200k_base")("hello world"))
"""


@pytest.fixture(params=VOCABULARIES)
def measure(request: pytest.FixtureRequest) -> Measure:
    return encodings.measure(request.param)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No vocabulary has been loaded yet."""
    monkeypatch.setattr(encodings, "_measures", {"approximate": approximate})


def whole(measure: Measure, text: str) -> int:
    return sum(map(measure, pieces(text)))


def test_known_counts() -> None:
    text = "Tokens are counted: 12345 的 don't 😀\n\n"
    assert {name: encodings.measure(name)(text) for name in ENCODINGS} == {
        "o200k_base": 10,
        "cl100k_base": 12,
        "approximate": 11,
    }


def test_special_tokens_count_as_text(measure: Measure) -> None:
    for special in ("<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>"):
        assert measure(special) > 1


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_counted(measure: Measure, text: str) -> None:
    assert 0 < count_text(measure, text) <= len(text.encode())


@given(st.text())
@settings(deadline=None)
def test_any_text_is_counted(text: str) -> None:
    for name in VOCABULARIES:
        assert 0 <= encodings.measure(name)(text) <= len(text.encode())


@given(
    st.lists(st.sampled_from(["word", "naïve", "的好", "42", "don't"]), min_size=2),
    st.sampled_from([" ", "\n", "\n\n  ", '","', ". ", ", ", "，", "。", "\\n", "()"]),
    st.integers(200, 2_000),
)
@settings(deadline=None, max_examples=25)
def test_cuts_behind_words_cost_nothing(words: list[str], between: str, times: int) -> None:
    text = between.join(words * times)[: 10 * 8192]
    for name in VOCABULARIES:
        assert whole(encodings.measure(name), text) == encodings.measure(name)(text)


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from strings(item)
        case dict():
            for item in value.values():
                yield from strings(item)


def test_real_texts_count_in_pieces_as_they_count_whole(measure: Measure, data_dir: Path) -> None:
    files = sorted(data_dir.glob("*.json*"))
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        values = text.split("\n") if file.suffix == ".jsonl" else [text]
        spoken = "\n".join(s for value in values if value for s in strings(json.loads(value)))
        for one in (text, spoken):
            assert whole(measure, one) == measure(one), file.name


def test_loading_touches_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK],
        env={"TIKTOKEN_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", VOCABULARIES)
def test_hashes_are_those_that_tiktoken_checks_by(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        openai_public, "load_tiktoken_bpe", lambda _url, expected_hash: seen.append(expected_hash)
    )
    openai_public.ENCODING_CONSTRUCTORS[name]()
    assert seen == [encodings._SHA256[name]]


@pytest.mark.usefixtures("unloaded")
def test_another_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encodings._SHA256, "cl100k_base", "0" * 64)
    with pytest.raises(encodings.VocabularyUnfit, match="install the pinned version again"):
        encodings.measure("cl100k_base")


def test_an_encoding_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError, match="gpt2"):
        encodings.measure("gpt2")


@pytest.mark.usefixtures("unloaded")
def test_threads_that_ask_at_once_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load = encodings._load

    def counting(name: str) -> Measure:
        loads.append(name)
        return load(name)

    monkeypatch.setattr(encodings, "_load", counting)
    start = threading.Barrier(8)
    got: list[Measure] = []

    def ask() -> None:
        start.wait()
        got.append(encodings.measure("cl100k_base"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["cl100k_base"]
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_counts_of_version_1_stay_what_they_are(measure: Measure) -> None:
    """A count is frozen into its message: who changes one of these raises `COUNTING_VERSION`."""
    parts = [
        b'{"type":"text","text":"The quick brown fox jumps over the lazy dog.\\n"}',
        b'{"type":"tool-call","id":"toolu_01","args":{"path":"a/b.py","line":12}}',
    ]
    assert count_message(measure, parts) == 39

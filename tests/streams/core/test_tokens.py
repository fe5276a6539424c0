"""Counting: what counts as text, what counts flat, and where a text is cut. `len` is the measure
where characters are easier to foresee than tokens."""

import base64
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from streams.core.tokens import (
    BASE64_CHARS_MIN,
    BASE64_TOKENS,
    ENCODINGS,
    MESSAGE_OVERHEAD_TOKENS,
    PIECE_CHARS_MAX,
    approximate,
    count_message,
    count_parts,
    count_text,
    pieces,
    rule_name,
)

DATA = base64.b64encode(Random(1).randbytes(30_000)).decode()

# Words and white space, single characters in long runs, and anything at all.
words = st.lists(
    st.sampled_from(["word ", "naïve\n", "1,234.5 ", "的", "'s", "😀", "\t", "=", "Aa0/"])
)
runs = st.lists(st.tuples(st.characters(exclude_categories=["Cs"]), st.integers(1, 20_000)))
long_texts = st.one_of(
    st.text(),
    st.tuples(words, st.integers(1, 3_000)).map(lambda w: "".join(w[0]) * w[1]),
    runs.map(lambda pairs: "".join(char * times for char, times in pairs)),
)


def compact(part: object, *, ascii_only: bool = False) -> bytes:
    return json.dumps(part, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def counted(*parts: object) -> int:
    """Characters that a message counts, without the overhead."""
    return count_message(len, [compact(part) for part in parts]) - MESSAGE_OVERHEAD_TOKENS


def test_the_rule_is_named_by_encoding_and_version() -> None:
    assert ENCODINGS == ("o200k_base", "cl100k_base", "approximate")
    assert rule_name("o200k_base") == "o200k_base/1"


def test_a_message_costs_its_overhead_and_the_sum_of_its_parts() -> None:
    parts = [compact({"type": "text", "text": "hello"}), compact({"type": "text", "text": ""})]
    assert count_message(len, parts) == MESSAGE_OVERHEAD_TOKENS + 5
    assert count_parts(len, Raw(b"[%b]" % b",".join(parts))) == MESSAGE_OVERHEAD_TOKENS + 5


def test_a_text_part_counts_its_text_as_text() -> None:
    assert counted({"type": "text", "text": 'line\n"two"'}) == len('line\n"two"')
    assert count_message(len, [b'{"type":"text","text":"\\u00e9"}']) == MESSAGE_OVERHEAD_TOKENS + 1


def test_what_else_a_text_part_carries_counts_as_json() -> None:
    assert counted({"type": "text", "text": "hi", "state": "done"}) == 2 + len('{"state":"done"}')


@pytest.mark.parametrize(
    "part",
    [
        {"type": "tool_result", "content": "a\nb", "n": 1.50},
        {"type": "text"},
        {"type": "text", "text": None},
        {"type": "text", "text": ["not", "a", "string"]},
        {"type": "text-delta", "text": "hello"},
    ],
)
def test_any_other_part_counts_its_json(part: dict[str, object]) -> None:
    assert counted(part) == len(compact(part))


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_a_part_counts_the_same_whatever_library_wrote_it(fields: dict[str, object]) -> None:
    part = fields | {"type": "tool"}
    plain, escaped = compact(part), compact(part, ascii_only=True).replace(b"/", b"\\/")
    assert count_message(len, [escaped]) == count_message(len, [plain])


def test_numbers_and_doubled_keys_count_as_they_were_written() -> None:
    part = b'{"type":"t","n":1e400,"n":12345678901234567890123,"s":"\\/"}'
    assert count_message(len, [part]) == MESSAGE_OVERHEAD_TOKENS + len(part) - 1


@pytest.mark.parametrize("suffix", ["", "=", "=="])
def test_base64_counts_flat_wherever_it_stands(suffix: str) -> None:
    data = DATA + suffix
    assert count_text(len, data) == BASE64_TOKENS
    assert count_text(len, f"see {data} and {data}.") == 2 * BASE64_TOKENS + len("see  and .")
    part = {"type": "image", "url": f"data:image/png;base64,{data}"}
    around = len(compact({"type": "image", "url": "data:image/png;base64,"}))
    assert counted(part) == BASE64_TOKENS + around


def test_base64_with_escaped_slashes_counts_flat() -> None:
    part = compact({"type": "image", "data": DATA}).replace(b"/", b"\\/")
    around = len(compact({"type": "image", "data": ""}))
    assert count_message(len, [part]) == MESSAGE_OVERHEAD_TOKENS + BASE64_TOKENS + around


def test_the_shortest_run_of_base64_that_counts_flat() -> None:
    assert count_text(len, DATA[:BASE64_CHARS_MIN]) == BASE64_TOKENS
    assert count_text(len, DATA[: BASE64_CHARS_MIN - 1]) == BASE64_CHARS_MIN - 1


def test_a_long_word_is_not_data_unless_it_says_so() -> None:
    for word in ("a" * 5_000, "0123456789abcdef" * 100, "-" * 2_000):
        assert count_text(len, word) == len(word)
        assert count_text(len, f";base64,{word}") == BASE64_TOKENS + len(";base64,")
    assert count_text(len, "a" * 5_000 + " ;base64,") == 5_009


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("的", 1), ("的的", 2), ("😀", 1)],
)
def test_approximate_is_a_quarter_of_the_bytes_rounded_up(text: str, tokens: int) -> None:
    assert approximate(text) == tokens


@given(long_texts)
@settings(deadline=None)
def test_pieces_join_back_to_the_text_and_are_bounded(text: str) -> None:
    cut = list(pieces(text))
    assert "".join(cut) == text
    assert all(0 < len(piece) <= PIECE_CHARS_MAX for piece in cut)


@given(long_texts)
@settings(deadline=None)
def test_pieces_are_few(text: str) -> None:
    assert len(list(pieces(text))) <= 1 + len(text) // (PIECE_CHARS_MAX // 2)


def test_a_short_text_is_one_piece() -> None:
    text = "word " * (PIECE_CHARS_MAX // 5)
    assert list(pieces(text)) == [text]


@pytest.mark.parametrize("between", [" ", "\n", '","', ".", "，", "。"])
def test_a_long_text_is_cut_behind_a_word(between: str) -> None:
    *front, _last = pieces(between.join(["word"] * 10_000))
    assert front
    assert all(piece.endswith("word") for piece in front)


def test_a_text_without_words_is_cut_at_the_bound() -> None:
    assert [len(piece) for piece in pieces(" " * 20_000)] == [8192, 8192, 3616]


@given(long_texts)
@settings(deadline=None)
def test_every_text_has_a_count(text: str) -> None:
    tokens = count_text(approximate, text)
    assert 0 <= tokens <= len(text.encode()) + BASE64_TOKENS


@given(st.lists(long_texts, max_size=3), st.booleans())
@settings(deadline=None)
def test_every_message_has_a_count(texts: list[str], as_text: bool) -> None:
    kind = "text" if as_text else "tool"
    parts = [compact({"type": kind, "text": text}, ascii_only=True) for text in texts]
    assert count_message(approximate, parts) >= MESSAGE_OVERHEAD_TOKENS


def test_counts_of_version_1_stay_what_they_are() -> None:
    """A count is frozen into its message: who changes one of these raises `COUNTING_VERSION`."""
    parts = [
        {"type": "text", "text": "The quick brown fox 的 😀\n"},
        {"type": "tool-call", "id": "toolu_01", "args": {"path": "a/b.py", "line": 12}},
        {"type": "image", "url": f"data:image/png;base64,{DATA}"},
    ]
    assert count_message(approximate, [compact(part) for part in parts]) == 808

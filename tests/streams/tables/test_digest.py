"""A digest is the same for the same rows, and for no others."""

import pytest

from streams.core.rows import LOG_KEY, POSITION_KEY
from streams.tables.digest import digest_of

HEADS = [(b"a", b"head of a"), (b"b", b"head of b")]
ROWS = [(b"a\0m1", b"one"), (b"a\0m2", b"two"), (b"b\0m1", b"one")]


def test_it_counts_and_names_the_position_of_its_partition() -> None:
    digest = digest_of(3, [(POSITION_KEY, b"41"), *HEADS], ROWS)
    assert (digest.partition, digest.position) == (3, 41)
    assert (digest.contexts, digest.rows) == (2, 3)
    assert digest_of(3, [], []).position == -1


def test_the_position_is_beside_the_hashes() -> None:
    one, other = (digest_of(0, [(POSITION_KEY, n), *HEADS], ROWS) for n in (b"1", b"2"))
    assert (one.windows, one.tails) == (other.windows, other.tails)
    assert one != other


def test_which_log_it_was_makes_no_difference() -> None:
    mark = [(LOG_KEY, b"id"), (POSITION_KEY, b"1")]
    assert digest_of(0, [*mark, *HEADS], ROWS) == digest_of(0, [*mark[1:], *HEADS], ROWS)


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:2],
        [*ROWS[:2], (b"b\0m1", b"One")],
        [*ROWS[:2], (b"b\0m2", b"one")],
        [(b"a\0m1", b"onea"), (b"\0m2", b"two"), (b"b\0m1", b"one")],
        [(b"a\0m1o", b"ne"), *ROWS[1:]],
        [*ROWS, (b"", b"")],
    ],
    ids=["one row less", "a value", "a key", "a byte in the next key", "a byte in the key", "more"],
)
def test_any_other_rows_have_another_hash(rows: list[tuple[bytes, bytes]]) -> None:
    expected = digest_of(0, HEADS, ROWS)
    assert digest_of(0, HEADS, rows).tails != expected.tails
    assert digest_of(0, rows, ROWS).windows != digest_of(0, ROWS, ROWS).windows

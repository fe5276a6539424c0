"""The bytes that Postgres' manual asks for."""

from datetime import UTC, datetime

from streams.archive.copy import copied
from streams.archive.row import ArchiveRow


def test_a_row_as_the_manual_has_it() -> None:
    moment = datetime(2000, 1, 2, 0, 0, 1, 5, UTC)
    row = ArchiveRow(0, "ä", 2, 3, "user", b"{}", 5, None, moment)
    assert b"".join(copied([row])) == (
        b"PGCOPY\n\xff\r\n\0"
        + b"\0\0\0\0"
        + b"\0\0\0\0"
        # The number of fields, then each with its length.
        + b"\0\x08"
        + b"\0\0\0\x02\xc3\xa4"
        + b"\0\0\0\x08\0\0\0\0\0\0\0\x02"
        + b"\0\0\0\x08\0\0\0\0\0\0\0\x03"
        + b"\0\0\0\x04user"
        + b"\0\0\0\x02{}"
        + b"\0\0\0\x08\0\0\0\0\0\0\0\x05"
        + b"\xff\xff\xff\xff"
        # Microseconds since 2000.
        + b"\0\0\0\x08"
        + (86_401_000_005).to_bytes(8)
        + b"\xff\xff"
    )


def test_no_rows_are_a_head_and_an_end() -> None:
    assert b"".join(copied([])) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"


def test_many_rows_are_those_of_the_pieces_that_they_come_in() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [ArchiveRow(0, "c", seq, seq, "user", b"{}", 1, "e", moment) for seq in range(1, 1002)]
    one, other, *_ = pieces = list(copied(rows))
    assert (one, pieces[-1]) == (b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff")
    assert len(other) < len(b"".join(pieces)) / 2
    alone = (b"".join(copied([row])).removeprefix(one).removesuffix(b"\xff\xff") for row in rows)
    assert b"".join(pieces[1:-1]) == b"".join(alone)

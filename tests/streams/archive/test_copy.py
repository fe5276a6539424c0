"""The bytes that Postgres' manual asks for."""

from streams.archive.copy import copied
from streams.archive.row import ArchiveRow


def test_a_row_as_the_manual_has_it() -> None:
    row = ArchiveRow(0, "ä", 2, 3, "user", b"{}", 5, None, "2026-01-01T00:00:00.000Z")
    assert copied([row]) == (
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
        + b"\0\0\0\x182026-01-01T00:00:00.000Z"
        + b"\xff\xff"
    )


def test_no_rows_are_a_head_and_an_end() -> None:
    assert copied([]) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"

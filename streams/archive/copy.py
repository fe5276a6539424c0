"""Rows in the binary format of Postgres' COPY: the bodies go in as they are, nothing is escaped.

The format is the one of the manual's page on COPY, "Binary Format": a signature, then for each row
its number of fields, then each field as its length in bytes and its bytes, all big-endian.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from streams.archive.row import ArchiveRow

PIECE_ROWS: Final = 200
FIELDS: Final = 8
SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""The eleven bytes of the manual, no flags, and an empty header extension."""
END: Final = b"\xff\xff"
NULL: Final = b"\xff\xff\xff\xff"

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Postgres counts the microseconds of a time from here."""
MICROSECOND: Final = timedelta(microseconds=1)

_start = struct.Struct(">hi").pack
_numbers_and_role = struct.Struct(">iqiqi").pack
_length = struct.Struct(">i").pack
_number = struct.Struct(">iq").pack


def copied(rows: Sequence[ArchiveRow]) -> Iterator[bytes]:
    """The rows for `copy ... from stdin (format binary)`, with the columns in this order:
    context_id, seq, version, role, body, token_count, event_id, inserted_at. In pieces: Postgres
    inserts one while the next is made."""
    yield SIGNATURE
    for first in range(0, len(rows), PIECE_ROWS):
        yield _piece(rows[first : first + PIECE_ROWS])
    yield END


def _piece(rows: Iterable[ArchiveRow]) -> bytes:
    out: list[bytes] = []
    for row in rows:
        context = row.context_id.encode()
        role = row.role.encode()
        out += (
            _start(FIELDS, len(context)),
            context,
            _numbers_and_role(8, row.seq, 8, row.version, len(role)),
            role,
            _length(len(row.body)),
            row.body,
            _number(8, row.token_count),
            NULL if row.event_id is None else _text(row.event_id),
            _number(8, (row.inserted_at - EPOCH) // MICROSECOND),
        )
    return b"".join(out)


def _text(text: str) -> bytes:
    data = text.encode()
    return _length(len(data)) + data

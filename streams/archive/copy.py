"""Rows in the binary format of Postgres' COPY: the bodies go in as they are, nothing is escaped.

The format is the one of the manual's page on COPY, "Binary Format": a signature, then for each row
its number of fields, then each field as its length in bytes and its bytes, all big-endian.
"""

import struct
from collections.abc import Iterable
from typing import Final

from streams.archive.row import ArchiveRow

FIELDS: Final = 8
SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""The eleven bytes of the manual, no flags, and an empty header extension."""
END: Final = b"\xff\xff"
NULL: Final = b"\xff\xff\xff\xff"

_start = struct.Struct(">hi").pack
_numbers_and_role = struct.Struct(">iqiqi").pack
_length = struct.Struct(">i").pack
_tokens = struct.Struct(">iq").pack


def copied(rows: Iterable[ArchiveRow]) -> bytes:
    """The rows for `copy staged from stdin (format binary)`, in the order of that table's columns:
    context_id, seq, version, role, body, token_count, event_id, inserted_at (as text)."""
    out = [SIGNATURE]
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
            _tokens(8, row.token_count),
            NULL if row.event_id is None else _text(row.event_id),
            _text(row.inserted_at),
        )
    out.append(END)
    return b"".join(out)


def _text(text: str) -> bytes:
    data = text.encode()
    return _length(len(data)) + data

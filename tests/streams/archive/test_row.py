"""What SQL asks about a message is read from the JSON that readers get."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec import Raw

from schemas.codec import Unreadable
from schemas.events import Message
from streams.archive.row import ArchiveRow, row_of
from streams.core.rows import json_of, message_row


def body_of(**changes: object) -> bytes:
    whole = {"seq": 1, "version": 1, "role": "u", "token_count": 1}
    return msgspec.json.encode({**whole, "inserted_at": "2026-01-31T00:00:00Z", **changes})


def test_the_tails_json_becomes_a_row() -> None:
    message = Message("user", Raw(b'[{"type":"text","text":"\\u0000"}]'), id="m-1")
    body = json_of(message_row(message, seq=7, version=3, tokens=11, timestamp_ms=1_000))
    assert row_of(2, "c", body, "e") == ArchiveRow(
        2, "c", 7, 3, "user", body, 11, "e", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    )


def test_a_nul_in_the_role_is_replaced_in_the_column_and_kept_in_the_body() -> None:
    body = json_of(
        message_row(Message("a\0b", Raw(b"[]")), seq=1, version=1, tokens=0, timestamp_ms=0)
    )
    row = row_of(0, "c", body, None)
    assert row.role == "a\ufffdb"
    assert b"a\\u0000b" in row.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        body_of(seq=0),
        body_of(seq=9_223_372_036_854_775_808),
        body_of(role=None),
        body_of(inserted_at="2026-02-31T00:00:00Z"),
        body_of(inserted_at="2026-01-31T00:00:00"),
    ],
)
def test_anything_else_is_unreadable(body: bytes) -> None:
    assert row_of(0, "c", body_of(), None).seq == 1
    with pytest.raises(Unreadable):
        row_of(0, "c", body, None)

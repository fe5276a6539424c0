"""What SQL asks about a message is read from the JSON that readers get."""

import pytest
from msgspec import Raw

from schemas.codec import Unreadable
from schemas.events import Message
from streams.archive.row import ArchiveRow, row_of
from streams.core.rows import json_of, message_row


def test_the_tails_json_becomes_a_row() -> None:
    message = Message("user", Raw(b'[{"type":"text","text":"\\u0000"}]'), id="m-1")
    body = json_of(message_row(message, seq=7, version=3, tokens=11, timestamp_ms=1_000))
    assert row_of(2, "c", body, "e") == ArchiveRow(
        2, "c", 7, 3, "user", body, 11, "e", "1970-01-01T00:00:01.000Z"
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
        b'{"seq":0,"version":1,"role":"u","token_count":1,"inserted_at":"x"}',
        b'{"seq":9223372036854775808,"version":1,"role":"u","token_count":1,"inserted_at":"x"}',
        b'{"seq":1,"version":1,"role":null,"token_count":1,"inserted_at":"x"}',
    ],
)
def test_anything_else_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        row_of(0, "c", body, None)

"""Bodies that are too large, lie about their length, or end too early."""

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from schemas.limits import REQUEST_BYTES_MAX
from tests.support.asgi import send
from tests.support.memory_store import MemoryStore

MIB = 1 << 20
PATH = b"/v1/contexts/c"


@pytest.mark.parametrize("length", [b"4194305", b"9" * 5000])
async def test_a_declared_length_is_refused_before_anything_is_read(
    app: FastAPI, length: bytes
) -> None:
    answer = await send(
        app, "PUT", PATH, headers=[(b"content-length", length)], chunks=[b" " * MIB] * 5
    )
    assert (answer.status, answer.json()["error"]) == (413, "too_large")
    assert answer.chunks_read == 0
    assert "idempotency-key" in answer.headers


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"2")], [(b"content-length", b"?")]])
async def test_reading_stops_where_a_body_becomes_too_large(
    app: FastAPI, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = await send(app, "PUT", PATH, headers=headers, chunks=[b" " * MIB] * 50)
    assert (answer.status, answer.json()["error"]) == (413, "too_large")
    assert answer.chunks_read == 5


async def test_a_body_of_the_largest_size_is_read(app: FastAPI) -> None:
    body = b"{}".ljust(REQUEST_BYTES_MAX)
    answer = await send(app, "PUT", PATH, chunks=[body[: 3 * MIB], body[3 * MIB :]])
    assert answer.status == 201


async def test_a_request_that_is_cut_off_changes_nothing_and_is_no_bug(
    app: FastAPI, store: MemoryStore
) -> None:
    with capture_logs() as logged:
        answer = await send(app, "PUT", PATH, chunks=[b"{"], cut_off=True)
    assert answer.status == 400
    assert (store.log, logged) == ([], [])


@pytest.mark.parametrize("key", [b"a\tb", b"a\x00b", b"a\x7fb", b"a\x85b"])
async def test_a_key_with_control_characters_is_refused(
    app: FastAPI, store: MemoryStore, key: bytes
) -> None:
    answer = await send(app, "PUT", PATH, headers=[(b"idempotency-key", key)])
    assert (answer.status, answer.json()["field"]) == (400, "Idempotency-Key")
    assert answer.headers["idempotency-key"].isalnum()
    assert store.log == []

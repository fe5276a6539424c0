"""What was archived comes back as it was, and a Postgres that is gone is never waited for long."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic import SecretStr

from streams.archive.errors import ArchiveUnavailable
from streams.archive.reader import ArchiveReader
from streams.archive.row import row_of
from streams.archive.writer import ArchiveWriter
from streams.settings import StreamSettings


def body_of(seq: int) -> bytes:
    return (
        b'{"version":1,"token_count":1,"inserted_at":"2026-11-23T10:00:00.123Z","role":"user",'
        rb'"parts":[{"b":1,"type":"\u0000 \ud83d\ude00","a":1e999999,"a":-0}], "metadata":{},'
        b'"seq":%d,"text":"\xf0\x9f\x98\x80"}' % seq
    )


def reader_of(url: str) -> ArchiveReader:
    return ArchiveReader(StreamSettings(postgres=SecretStr(url)))


@pytest.fixture
async def reader(database: str) -> AsyncIterator[ArchiveReader]:
    writer = ArchiveWriter(database, "t.facts")
    writer.write([row_of(0, "c/ä", body_of(seq), None) for seq in range(1, 11)], {})
    writer.close()
    reader = reader_of(database)
    await reader.open()
    yield reader
    await reader.close()


async def test_bodies_come_back_byte_for_byte_and_in_order(reader: ArchiveReader) -> None:
    assert await reader.bodies("c/ä", [range(3, 6)]) == [(seq, body_of(seq)) for seq in (3, 4, 5)]


async def test_runs_come_back_without_what_lies_between_them(reader: ArchiveReader) -> None:
    found = await reader.bodies("c/ä", [range(2, 3), range(5, 7), range(9, 30)])
    assert [seq for seq, _ in found] == [2, 5, 6, 9, 10]


async def test_what_is_not_there_is_not_in_the_list(reader: ArchiveReader) -> None:
    assert [seq for seq, _ in await reader.bodies("c/ä", [range(9, 21)])] == [9, 10]
    assert await reader.bodies("nobody", [range(1, 6)]) == []


async def test_connections_that_the_server_closed_are_replaced(
    reader: ArchiveReader, database: str
) -> None:
    await asyncio.gather(*(reader.bodies("c/ä", [range(1, 11)]) for _ in range(20)))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'rewindow reader' and datname = current_database()"
        )
    assert len(await reader.bodies("c/ä", [range(1, 11)])) == 10


async def test_a_database_without_the_schema_is_unavailable(database: str) -> None:
    reader = reader_of(database)
    await reader.open()
    with pytest.raises(ArchiveUnavailable):
        await reader.bodies("c", [range(1, 2)])
    await reader.close()


async def test_a_server_that_takes_connections_and_says_nothing_is_unavailable() -> None:
    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader = reader_of(f"postgresql://nobody@127.0.0.1:{port}/none")
    await reader.open()
    began = time.monotonic()
    with pytest.raises(ArchiveUnavailable) as refused:
        await reader.bodies("c", [range(1, 3)])
    assert time.monotonic() - began < 60
    assert refused.value.retry_after_s > 0
    await reader.close()
    server.close()

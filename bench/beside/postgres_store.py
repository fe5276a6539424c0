"""The store in Postgres: the head row of the context is locked, the message inserted, the head
updated, in a transaction for each append, which is on the disk when it is answered."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from bench.beside.store_app import ADDRESS, Found, Said, prose, store_app
from bench.messages import TOKENS

CONNECTIONS: Final = 10
"""Tried in turn with 5, 10 and 20, and with a second process of 10 more, on two cores that were
busy: with 20 and 50 clients this was the quickest, with 1 and 200 the noise was larger than what
they differed by."""

TABLES: Final = """
create table if not exists heads (
    context_id   text   primary key,
    version      bigint not null default 0,
    last_seq     bigint not null default 0,
    total_tokens bigint not null default 0,
    token_budget bigint not null,
    window_limit bigint not null
) with (fillfactor = 70);
create table if not exists messages (
    context_id  text        not null,
    seq         bigint      not null,
    role        text        not null,
    token_count bigint      not null,
    inserted_at timestamptz not null,
    body        json        not null,
    primary key (context_id, seq)
);
"""
CONFIGURE: Final = """
insert into heads (context_id, token_budget, window_limit) values (%s, %s, %s)
on conflict (context_id) do update
set token_budget = excluded.token_budget, window_limit = excluded.window_limit
"""
LOCK: Final = "select last_seq from heads where context_id = %s for update"
INSERT: Final = """
insert into messages (context_id, seq, role, token_count, inserted_at, body)
values (%s, %s, %s, %s, %s, %s)
"""
ADVANCE: Final = """
update heads
set version = version + 1, last_seq = last_seq + 1, total_tokens = total_tokens + %s
where context_id = %s
"""
HEAD: Final = "select last_seq, token_budget, window_limit from heads where context_id = %s"
# To put the window together in SQL was tried: it takes as long for 400 messages, and twice as long
# for 4,000.
NEWEST: Final = """
select token_count, body::text from messages
where context_id = %s and seq between %s and %s order by seq desc
"""
PAGE: Final = """
select body::text from messages where context_id = %s and seq between %s and %s order by seq
"""


class PostgresStore:
    """A pool of connections, made once it is opened."""

    def __init__(self, url: str) -> None:
        self.pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            url,
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            kwargs={"autocommit": True},
            open=False,
        )

    async def configure(self, context_id: str, budget: int, limit: int) -> None:
        """See `Store`."""
        async with self.pool.connection() as connection:
            await connection.execute(CONFIGURE, (context_id, budget, limit))

    async def append(self, context_id: str, said: Said) -> int | None:
        """See `Store`."""
        async with self.pool.connection() as connection, connection.transaction():
            head = await (await connection.execute(LOCK, (context_id,))).fetchone()
            if head is None:
                return None
            seq: int = head[0] + 1
            await connection.execute(INSERT, _row(context_id, seq, said))
            await connection.execute(ADVANCE, (said.tokens, context_id))
        return seq

    async def window(self, context_id: str) -> Found | None:
        """See `Store`."""
        async with self.pool.connection() as connection:
            head = await (await connection.execute(HEAD, (context_id,))).fetchone()
            if head is None:
                return None
            last, budget, limit = head
            asked = (context_id, last - limit + 1, last)
            rows = await (await connection.execute(NEWEST, asked)).fetchall()
        return Found(last, budget, [(tokens, body.encode()) for tokens, body in rows])

    async def tail(self, context_id: str, limit: int, offset: int) -> Sequence[bytes] | None:
        """See `Store`."""
        async with self.pool.connection() as connection:
            head = await (await connection.execute(HEAD, (context_id,))).fetchone()
            if head is None:
                return None
            last = head[0] - offset
            asked = (context_id, last - limit + 1, last)
            rows = await (await connection.execute(PAGE, asked)).fetchall()
        return [body.encode() for (body,) in rows]


def _row(context_id: str, seq: int, said: Said) -> tuple[object, ...]:
    body = said.stored(seq).decode()
    return context_id, seq, said.role, said.tokens, said.inserted_at, body


def app() -> FastAPI:
    """Over the database whose address the environment has."""
    store = PostgresStore(os.environ[ADDRESS])

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with store.pool as pool:
            await pool.wait()
            yield

    return store_app(store, lifespan)


def prepare(url: str) -> None:
    """Make the tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)


def fill(url: str, context_ids: Sequence[str], messages: int) -> None:
    """Give contexts that are there, and empty, so many messages each."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        columns = "context_id, seq, role, token_count, inserted_at, body"
        with cursor.copy(f"copy messages ({columns}) from stdin") as copy:
            for context_id in context_ids:
                for seq, one in zip(range(1, messages + 1), prose(), strict=False):
                    copy.write_row(_row(context_id, seq, one))
        cursor.execute(
            "update heads set version = %s, last_seq = %s, total_tokens = %s "
            "where context_id = any(%s)",
            (messages, messages, messages * TOKENS, context_ids),
        )
    with psycopg.connect(url, autocommit=True) as connection:
        # As autovacuum would a minute later, in the middle of what is measured.
        connection.execute("vacuum (analyze) messages, heads")

"""Messages out of Postgres, byte for byte as they were when hot."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from streams.archive.connection import conninfo_of
from streams.archive.errors import ArchiveUnavailable
from streams.archive.queries import QUERIES
from streams.settings import StreamSettings

CONNECTIONS_MAX: Final = 4
ANSWER_S: Final = 5.0
RECONNECT_S: Final = 5.0
"""The pool doubles its pauses for as long as this; then the next request makes it try again. Longer
would mean that it sleeps on when Postgres is back."""
RETRY_AFTER_S: Final = 2

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class _AsItIs(Loader):
    """A json column's text, not parsed."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class ArchiveReader:
    """A small pool of connections. Raises `ArchiveUnfit` where the settings' address is none."""

    def __init__(self, settings: StreamSettings) -> None:
        assert settings.postgres is not None, "without Postgres there is no archive"
        # Every attempt of the pool would be a warning; whoever asks is told, and that is enough.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo_of(settings.postgres.get_secret_value(), "rewindow reader"),
            connection_class=Connection,
            kwargs={"autocommit": True},
            configure=_configure,
            min_size=1,
            max_size=CONNECTIONS_MAX,
            timeout=ANSWER_S,
            reconnect_timeout=RECONNECT_S,
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect; Postgres may come later."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Hang up."""
        await self._pool.close(timeout=ANSWER_S)

    async def bodies(self, context_id: str, runs: Sequence[range]) -> list[tuple[int, bytes]]:
        """The archived messages of these runs of seqs, none of them empty and each behind the one
        before, as seq and JSON, in order.

        What is not archived is not in the list. Raises `ArchiveUnavailable` when Postgres has not
        answered within `ANSWER_S` seconds.
        """
        asked: dict[str, object] = {
            "context_id": context_id,
            "firsts": [run[0] for run in runs],
            "lasts": [run[-1] for run in runs],
        }
        query = asyncio.create_task(self._fetched(asked))
        try:
            # Not cancelled and waited for: psycopg gives a server that hangs ten seconds more.
            done, _ = await asyncio.wait({query}, timeout=ANSWER_S)
        finally:
            query.cancel()
        try:
            if done:
                return query.result()
        except (psycopg.Error, PoolTimeout, PoolClosed):
            pass
        raise ArchiveUnavailable(
            f"messages {runs[0][0]} to {runs[-1][-1]} are in the archive, and Postgres does not "
            "answer; ask again",
            RETRY_AFTER_S,
        )

    async def _fetched(self, asked: dict[str, object]) -> list[tuple[int, bytes]]:
        # Each connection of the pool may be one that the server has closed in the meantime, and is
        # replaced when that shows. The pool's own check pauses for a second, two, four in between.
        for _ in range(CONNECTIONS_MAX):
            try:
                return await self._fetched_once(asked)
            except psycopg.OperationalError:
                continue
        return await self._fetched_once(asked)

    async def _fetched_once(self, asked: dict[str, object]) -> list[tuple[int, bytes]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(QUERIES["bodies"], asked)
            return [(seq, body) for seq, body in await cursor.fetchall()]


async def _configure(connection: Connection) -> None:
    connection.adapters.register_loader("json", _AsItIs)
    milliseconds = str(int(ANSWER_S * 1000))
    await connection.execute("select set_config('statement_timeout', %s, false)", (milliseconds,))

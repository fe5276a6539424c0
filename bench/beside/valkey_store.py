"""The store in Valkey, the free Redis: a hash for the head of each context, a list for its
messages, and a script for each append, which is on the disk when it is answered."""

import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, closing
from itertools import islice
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

import valkey
from fastapi import FastAPI
from valkey.asyncio import Valkey

from bench.beside.store_app import ADDRESS, Found, Said, prose, store_app
from bench.messages import TOKENS

T = TypeVar("T")

APPEND: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local seq = redis.call('HINCRBY', KEYS[1], 'last_seq', 1)
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HINCRBY', KEYS[1], 'total_tokens', ARGV[1])
redis.call('RPUSH', KEYS[2],
    ARGV[1] .. ' {"seq":' .. seq .. ',"version":' .. seq .. ',' .. ARGV[2])
return seq
"""
"""As the tokens and the JSON of the message, so that a window need not decode it."""
ROWS_AT_ONCE: Final = 1000


class ValkeyStore:
    """A pool of connections, which grows to as many as there are requests at once."""

    def __init__(self, url: str) -> None:
        self.client: Valkey = Valkey.from_url(url)
        self._append = self.client.register_script(APPEND)

    async def configure(self, context_id: str, budget: int, limit: int) -> None:
        """See `Store`."""
        settings = {"token_budget": budget, "window_limit": limit}
        await _coming(self.client.hset(_head(context_id), mapping=settings))

    async def append(self, context_id: str, said: Said) -> int | None:
        """See `Store`."""
        keys = [_head(context_id), _messages(context_id)]
        seq: int | None = await self._append(keys, [said.tokens, said.rest])
        return seq

    async def window(self, context_id: str) -> Found | None:
        """See `Store`. The limit of the window is known only once the head is."""
        asked = ["last_seq", "token_budget", "window_limit"]
        last, budget, limit = await _coming(self.client.hmget(_head(context_id), asked))
        if limit is None:
            return None
        last_seq = int(last or 0)
        # A list counts from 0, a seq from 1.
        first = max(0, last_seq - int(limit))
        rows = await _coming(self.client.lrange(_messages(context_id), first, last_seq - 1))
        parted = (row.split(b" ", 1) for row in reversed(rows))
        return Found(last_seq, int(budget), [(int(tokens), body) for tokens, body in parted])

    async def tail(self, context_id: str, limit: int, offset: int) -> Sequence[bytes] | None:
        """See `Store`."""
        if not await self.client.exists(_head(context_id)):
            return None
        rows = await _coming(
            self.client.lrange(_messages(context_id), -limit - offset, -1 - offset)
        )
        return [row.split(b" ", 1)[1] for row in rows]


def app() -> FastAPI:
    """Over the server whose address the environment has."""
    store = ValkeyStore(os.environ[ADDRESS])

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with store.client:
            yield

    return store_app(store, lifespan)


def fill(url: str, context_ids: Sequence[str], messages: int) -> None:
    """Give contexts that are there, and empty, so many messages each."""
    address = urlsplit(url)
    with closing(valkey.Valkey(address.hostname or "", address.port or 0)) as client:
        for context_id in context_ids:
            rows = (
                b"%d %b" % (one.tokens, one.stored(seq))
                for seq, one in zip(range(1, messages + 1), prose(), strict=False)
            )
            while several := list(islice(rows, ROWS_AT_ONCE)):
                client.rpush(_messages(context_id), *several)
            numbers = {
                "version": messages,
                "last_seq": messages,
                "total_tokens": messages * TOKENS,
            }
            client.hset(_head(context_id), mapping=numbers)


def _coming(answer: Awaitable[T] | T) -> Awaitable[T]:
    """The client has one type for both of its kinds."""
    return cast(Awaitable[T], answer)


def _head(context_id: str) -> str:
    return f"head:{context_id}"


def _messages(context_id: str) -> str:
    return f"messages:{context_id}"

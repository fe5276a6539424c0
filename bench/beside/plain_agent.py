"""The same core in a plain Faust agent, with ordinary table writes: the head and the message rows.

In its favour: it keeps no rows for idempotency, publishes no facts, archives nothing, and the time
ends when the last write was handed to Faust's producer, not when the broker has it. It is not exact
under kill -9, which is why Rewindow does not work like this.
"""

import asyncio
from typing import Any

import faust
import uvloop
from faust.types import StreamT

from bench.beside.drained import Backlog, Drained, Progress
from bench.beside.faust_app import run_agent
from bench.child import told
from bench.messages import PARTITIONS
from schemas.codec import decode_event
from schemas.topics import TAILS, WINDOWS
from streams import encodings
from streams.core.fold import At, fold
from streams.core.head import Head, decode_head, encode_head
from streams.core.rows import answer_key, hash_of


class _Heads:
    def __init__(self, table: Any) -> None:
        self._table = table

    def head(self, context_id: str) -> Head | None:
        row = self._table.get(context_id.encode())
        return None if row is None else decode_head(row)


class _PlainFold:
    def __init__(self, app: faust.App) -> None:
        self._windows, self._tails = (
            app.Table(
                name,
                key_type=bytes,
                value_type=bytes,
                partitions=PARTITIONS,
                options={"block_cache_size": 16 << 20, "write_buffer_size": 4 << 20},
            )
            for name in (WINDOWS, TAILS)
        )
        self._heads = _Heads(self._windows)

    def fold(self, message: Any) -> None:
        event = decode_event(message.key, message.value)
        at = At(message.offset, round(message.timestamp * 1000))
        left_out = answer_key(message.key, hash_of(event.id.encode()))
        for folded in fold(event, at, self._heads, self._tails, encodings.measure):
            for key, value in folded.writes.items():
                if key == left_out:
                    continue
                if value is None:
                    del self._tails[key]
                else:
                    self._tails[key] = value
            assert folded.head is not None
            self._windows[message.key] = encode_head(folded.head)


def main() -> None:
    """Fold the backlog."""
    backlog = told(Backlog)
    encodings.measure("o200k_base")
    progress = Progress(backlog)

    def make(app: faust.App, done: asyncio.Future[Drained]) -> None:
        plain = _PlainFold(app)

        async def agent(stream: StreamT[Any]) -> None:
            begun = False
            async for event in stream.events():
                if not begun:
                    progress.begin()
                    begun = True
                plain.fold(event.message)
                if progress.saw(event.message.partition, event.message.offset):
                    done.set_result(progress.end())
                    await asyncio.Event().wait()

        topic = app.topic(backlog.topic, partitions=PARTITIONS)
        app.agent(topic, name="plain")(agent)

    asyncio.run(run_agent(backlog, make))


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    main()

"""Healing: messages that the facts have lost are taken from the hot tail.

Nothing above a watermark is ever trimmed, and the watermark waits below a hole; so what is missing
is still hot, unless the tables were lost with the facts.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Protocol

import structlog

from schemas.codec import Unreadable
from schemas.limits import MESSAGE_BYTES_MAX
from streams.archive.row import ArchiveRow, row_of
from streams.archive.writer import ArchiveWriter, Hole, Written
from streams.store import Unavailable

log = structlog.get_logger()

CONTEXTS_PER_ROUND: Final = 100
MESSAGES_PER_HOLE: Final = 200
"""How much of one hole is read at once; the next round goes on from there."""
ROUND_BYTES_MAX: Final = 16 * MESSAGE_BYTES_MAX
HOT_ANSWER_S: Final = 5.0

Hot = Callable[[int, str, range], list[tuple[int, bytes]]]
"""Partition, context id, seqs -> those of them that are hot, as seq and JSON, in order."""


class HotTail(Protocol):
    """The hot tail of the partitions that this node owns, asked from any thread."""

    def messages(
        self, partition: int, context_id: str, from_seq: int, to_seq: int
    ) -> list[tuple[int, bytes]]:
        """The hot messages among `from_seq` to `to_seq`. May raise `Unavailable`."""


class LoopTail:
    """A hot tail that may be read on the event loop only, where this object is made."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot
        self._loop = asyncio.get_running_loop()

    def messages(
        self, partition: int, context_id: str, from_seq: int, to_seq: int
    ) -> list[tuple[int, bytes]]:
        """See `HotTail`. Blocks; not for the loop itself."""
        if self._loop.is_closed():
            raise Unavailable("the node has stopped")
        seqs = range(from_seq, to_seq + 1)
        asked = asyncio.run_coroutine_threadsafe(self._ask(partition, context_id, seqs), self._loop)
        try:
            return asked.result(HOT_ANSWER_S)
        except TimeoutError:
            asked.cancel()
            raise Unavailable(f"the hot tail did not answer within {HOT_ANSWER_S:g} s") from None

    async def _ask(self, partition: int, context_id: str, seqs: range) -> list[tuple[int, bytes]]:
        return self._hot(partition, context_id, seqs)


class Healer:
    """Goes round the contexts that have holes, some of them each time. Belongs to one thread."""

    def __init__(self, writer: ArchiveWriter, tail: HotTail) -> None:
        self._writer = writer
        self._tail = tail
        self._after = ""
        self._seen: list[str] = []

    def go_round(self, partitions: Collection[int]) -> Written:
        """Heal what can be healed now. Raises what `ArchiveWriter` raises.

        The watermarks in the result are to be announced, then `close()` is to be called. Those of
        holes that were filled before are among them: their announcement may have been cut short.
        """
        holes = self._writer.holes(partitions, after=self._after, limit=CONTEXTS_PER_ROUND)
        rows: list[ArchiveRow] = []
        filled: dict[int, dict[str, int]] = {}
        self._seen = []
        size = 0
        for hole in holes:
            if hole.to_seq is None:
                filled.setdefault(hole.partition, {})[hole.context_id] = hole.from_seq - 1
            else:
                found = self._found(hole, hole.to_seq)
                rows += found
                size += sum(len(row.body) for row in found)
            self._seen.append(hole.context_id)
            if size >= ROUND_BYTES_MAX:
                break
        whole = len(self._seen) == len(holes) < CONTEXTS_PER_ROUND
        self._after = "" if whole else self._seen[-1]
        if not rows:
            return Written(watermarks=filled)
        written = self._writer.write(rows, {})
        log.info("messages were healed from the hot tail", messages=written.inserted)
        for partition, seqs in filled.items():
            written.watermarks.setdefault(partition, {}).update(seqs)
        return written

    def close(self, partitions: Collection[int]) -> int:
        """Forget what this round has filled; returns how many contexts are left with a hole."""
        if self._seen:
            self._writer.close_holes(self._seen)
        return self._writer.count_holes(partitions)

    def _found(self, hole: Hole, to_seq: int) -> list[ArchiveRow]:
        to_seq = min(to_seq, hole.from_seq + MESSAGES_PER_HOLE - 1)
        try:
            found = self._tail.messages(hole.partition, hole.context_id, hole.from_seq, to_seq)
            return [
                row_of(hole.partition, hole.context_id, body, None)
                for seq, body in found
                if hole.from_seq <= seq <= to_seq
            ]
        except (Unavailable, Unreadable) as exc:
            log.warning("a hole can't be healed now", context_id=hole.context_id, why=str(exc))
            return []

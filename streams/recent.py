"""Message rows of the windows and tails that were read last.

They are read again and again, and between two reads a conversation has grown by a message or two.
The rows of messages never change: what was read once need not be looked up anew. A window of 400
messages takes 0.5 ms out of RocksDB, and a tenth of that from here.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from streams.core.rows import message_key
from streams.tables.lane import Lane

SPARE: Final = 64
"""So many rows more than the widest read are kept before the oldest are cleared away."""


class _Kept(Struct):
    """Rows of one context by seq. They are of this lane: another may hold what this one never made
    durable. `widest`: how many seqs the widest read went over; `newest`: the highest one read."""

    lane: Lane
    rows: dict[int, bytes]
    size: int = 0
    widest: int = 0
    newest: int = 0


class RecentRows:
    """At most `bytes_max` of them; the contexts that were asked for last stay. Used from the event
    loop only."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._size = 0

    def messages(self, lane: Lane, context: bytes, seqs: Sequence[int]) -> list[bytes | None]:
        """The rows of these messages, seqs rising; None for one that is not hot."""
        if not seqs:
            return []
        kept = self._kept.pop(context, None)
        if kept is None or kept.lane is not lane:
            self._size -= 0 if kept is None else kept.size
            kept = _Kept(lane, {})
        self._kept[context] = kept
        rows = kept.rows
        if missing := [seq for seq in seqs if seq not in rows]:
            self._read(kept, context, missing)
        found = [rows.get(seq) for seq in seqs]
        kept.widest = max(kept.widest, seqs[-1] - seqs[0] + 1)
        kept.newest = max(kept.newest, seqs[-1])
        if len(rows) > 2 * kept.widest + SPARE:
            self._clear_up(kept)
        while self._size > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size
        return found

    def _read(self, kept: _Kept, context: bytes, seqs: Sequence[int]) -> None:
        read = kept.lane.tails.get_many([message_key(context, seq) for seq in seqs])
        for seq, row in zip(seqs, read, strict=True):
            if row is not None:
                kept.rows[seq] = row
                kept.size += len(row)
                self._size += len(row)

    def _clear_up(self, kept: _Kept) -> None:
        first = kept.newest - kept.widest - SPARE
        kept.rows = {seq: row for seq, row in kept.rows.items() if seq >= first}
        self._size -= kept.size
        kept.size = sum(map(len, kept.rows.values()))
        self._size += kept.size

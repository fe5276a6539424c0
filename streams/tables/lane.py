"""A lane: what one owned partition has in memory and in the air."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from streams.core.head import Head, decode_head, encode_head
from streams.core.rows import LOG_KEY, POSITION_KEY, bodies_of, message_key
from streams.core.tally import TALLY_KEY, Tally, decode_tally, encode_tally, tally_of
from streams.tables.overlay import Overlay, Writes
from streams.tables.record import Record

HEADS_KEPT: Final = 4096
"""Decoded heads of one lane. With metadata at its limit that is 256 MiB, without 4 MiB."""

WRITTEN_MAX: Final = 256


class Outbound(NamedTuple):
    """A record beside the tables, of the same transaction and the same partition number."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


class Flight(NamedTuple):
    """What one transaction carries; `reached` is the log offset behind it."""

    windows: Writes
    tails: Writes
    outbound: list[Outbound]
    reached: int


class Lane:
    """`next`: the log offset that is folded next. `target`: the end of the log when the partition
    was assigned. `log_id`: of the log, None where the position is nobody else's to find. `tally`:
    of all its heads. `turn`: held by whoever feeds records to the fold, so
    that they stay in order. `written`: records that this node wrote and that are not folded yet,
    the newest of them, in order; they come by Faust as well."""

    def __init__(
        self,
        partition: int,
        windows: Overlay,
        tails: Overlay,
        *,
        next_offset: int,
        target: int,
        log_id: bytes | None = None,
    ) -> None:
        self.partition = partition
        self.windows = windows
        self.tails = tails
        self.next = next_offset
        self.target = target
        self.end = target
        self.durable = next_offset
        self.turn = asyncio.Lock()
        self.written: deque[Record] = deque(maxlen=WRITTEN_MAX)
        self.flushed_at = 0.0
        self.flushing: asyncio.Task[None] | None = None
        self._outbound: list[Outbound] = []
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._unwritten: dict[str, Head] = {}
        self._lifted = next_offset
        self._log_id = log_id
        self.tally = self._tally_found()

    @property
    def caught_up(self) -> bool:
        """Whether everything that stood in the log at the assignment has been folded."""
        return self.next >= self.target

    @property
    def unlifted(self) -> int:
        """How many log offsets have been folded and are in no transaction yet."""
        return self.next - self._lifted

    def head(self, context_id: str) -> Head | None:
        """The newest head of a context."""
        head = self._heads.get(context_id)
        if head is not None:
            self._heads.move_to_end(context_id)
            return head
        if (head := self._unwritten.get(context_id)) is not None:
            return head
        row = self.windows.get(context_id.encode())
        if row is None:
            return None
        head = decode_head(row)
        self._keep(context_id, head)
        return head

    def heads_from(self, start: bytes) -> Iterator[tuple[bytes, Head]]:
        """The contexts from an id's bytes on, in their order; used up before anything is folded."""
        self._write_heads()
        for key, row in self.windows.items_from(start):
            # Our own rows begin with NUL, which no id does.
            if not key.startswith(b"\0"):
                yield key, decode_head(row)

    def put_head(self, context_id: str, head: Head) -> None:
        """Take a context's new head. Only the last one before a flight becomes a row."""
        self.tally = self.tally.moved(self.head(context_id), head)
        self._unwritten[context_id] = head
        self._keep(context_id, head)

    def _write_heads(self) -> None:
        for context_id, head in self._unwritten.items():
            self.windows.put(context_id.encode(), encode_head(head))
        self._unwritten = {}

    def _tally_found(self) -> Tally:
        row = self.windows.get(TALLY_KEY)
        if row is not None:
            return decode_tally(row)
        # There are no heads yet, or they come from a version that kept no tally.
        return tally_of(head for _, head in self.heads_from(b""))

    def _keep(self, context_id: str, head: Head) -> None:
        self._heads[context_id] = head
        self._heads.move_to_end(context_id)
        if len(self._heads) > HEADS_KEPT:
            self._heads.popitem(last=False)

    def emit(self, outbound: Outbound) -> None:
        """Publish a record together with the rows that came of the same event."""
        self._outbound.append(outbound)

    def lift(self) -> Flight:
        """Take everything folded so far into one transaction, the tally with it, and the mark last:
        whoever looks for the newest position finds beside it which log it is in."""
        self._write_heads()
        self.windows.put(TALLY_KEY, encode_tally(self.tally))
        if self._log_id is not None:
            self.windows.put(LOG_KEY, self._log_id)
        self.windows.put(POSITION_KEY, b"%d" % (self.next - 1))
        outbound, self._outbound = self._outbound, []
        self._lifted = self.next
        return Flight(self.windows.lift(), self.tails.lift(), outbound, self.next)

    def store(self, flight: Flight, windows_offset: int, tails_offset: int | None) -> None:
        """Write a committed flight to RocksDB, the table with the position row last.

        Both offsets are of the changelogs; `tails_offset` is None where the flight had no such row.
        """
        if tails_offset is not None:
            self.tails.store(tails_offset)
        self.windows.store(windows_offset)
        self.durable = flight.reached

    def hot(self, context_id: str, seqs: Sequence[int]) -> list[tuple[int, bytes]]:
        """The messages among `seqs` that are in the hot tail, as seq and JSON, in order."""
        context = context_id.encode()
        rows = self.tails.get_many([message_key(context, seq) for seq in seqs])
        return bodies_of(seqs, rows)

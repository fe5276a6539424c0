"""The streams of a node, without HTTP, in a process that ends like a machine without power: when
another one takes its place in the group, or at one point of a flush, the second time that it gets
there (so that there is a first batch behind it).

REWINDOW_DIES names the point, if there is to be one; see `POINTS`. REWINDOW_DIES_BY=SIGSTOP: it
only stops there, and goes on when it is told to. REWINDOW_UNFENCED: it shuts nobody out.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence

import pytest

from streams.app import Streams
from streams.settings import StreamSettings
from streams.tables.journal import Journal
from streams.tables.lane import Flight, Lane, Outbound
from streams.tables.overlay import Overlay, Writes
from streams.tables.transaction import TransactionWriter
from tests.simulation.mutations import no_fencing

DIES_AT_TIME = 2

_end, _commit = TransactionWriter._end, TransactionWriter.commit
_produce = TransactionWriter._produce
_store_lane, _store_table = Lane.store, Overlay.store
_times = 0


def _die_the_second_time() -> None:
    global _times
    _times += 1
    if _times == DIES_AT_TIME:
        os.kill(os.getpid(), signal.Signals[os.environ.get("REWINDOW_DIES_BY", "SIGKILL")])


def _begun() -> None:
    def produce(
        writer: TransactionWriter, rows: Mapping[str, Writes], outbound: Sequence[Outbound]
    ) -> dict[str, int]:
        _die_the_second_time()
        return _produce(writer, rows, outbound)

    TransactionWriter._produce = produce  # type: ignore[method-assign]


def _produced() -> None:
    def end(writer: TransactionWriter, deadline: float) -> None:
        writer._producer.flush(30)
        _die_the_second_time()
        _end(writer, deadline)

    TransactionWriter._end = end  # type: ignore[method-assign]


def _committed() -> None:
    def commit(
        writer: TransactionWriter, rows: Mapping[str, Writes], outbound: Sequence[Outbound]
    ) -> dict[str, int]:
        last = _commit(writer, rows, outbound)
        _die_the_second_time()
        return last

    TransactionWriter.commit = commit  # type: ignore[method-assign]


def _tails_stored() -> None:
    """Between the two tables: a flight writes `tails` first."""

    def store(table: Overlay, offset: int) -> None:
        _store_table(table, offset)
        if any(b"\0m" in key for key, _ in table.rows_stored()):
            _die_the_second_time()

    Overlay.store = store  # type: ignore[method-assign]


def _stored() -> None:
    def store(lane: Lane, flight: Flight, windows: int, tails: int | None) -> None:
        _store_lane(lane, flight, windows, tails)
        _die_the_second_time()

    Lane.store = store  # type: ignore[method-assign]


def _one_flush_after_the_other() -> None:
    """Of two partitions too: the first batch is whole when the second one is begun."""
    flush, turn = Journal._flush, asyncio.Lock()

    async def in_turn(journal: Journal, lane: Lane) -> None:
        async with turn:
            await flush(journal, lane)

    Journal._flush = in_turn  # type: ignore[method-assign]


POINTS: dict[str, Callable[[], None]] = {
    "begun": _begun,
    "produced": _produced,
    "committed": _committed,
    "tails stored": _tails_stored,
    "stored": _stored,
}


async def _run() -> None:
    expelled = asyncio.Event()
    streams = Streams(StreamSettings(), on_expelled=expelled.set)
    await streams.start()
    await expelled.wait()
    # A node would end before; this one does what harm it can.
    await streams._journal.settled()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if "REWINDOW_UNFENCED" in os.environ:
        no_fencing(pytest.MonkeyPatch())
    if (point := os.environ.get("REWINDOW_DIES")) is not None:
        _one_flush_after_the_other()
        POINTS[point]()
    asyncio.run(_run())

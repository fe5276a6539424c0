"""The streams of a node, without HTTP, in a process that ends like a machine without power: when
another one takes its place in the group, or at one point of a flush, the second time that it gets
there (so that there is a first batch behind it).

REWINDOW_DIES names the point, if there is to be one; see `POINTS`.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from streams.app import Streams
from streams.settings import StreamSettings
from streams.tables.lane import Flight, Lane, Outbound
from streams.tables.overlay import Overlay, Writes
from streams.tables.transaction import TransactionWriter

DIES_AT_TIME = 2

_end, _commit = TransactionWriter._end, TransactionWriter.commit
_store_lane, _store_table = Lane.store, Overlay.store
_times = 0


def _die_the_second_time() -> None:
    global _times
    _times += 1
    if _times >= DIES_AT_TIME:
        _die()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives that")


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


POINTS: dict[str, Callable[[], None]] = {
    "produced": _produced,
    "committed": _committed,
    "tails stored": _tails_stored,
    "stored": _stored,
}


async def _run() -> None:
    streams = Streams(StreamSettings(), on_expelled=_die)
    await streams.start()
    await asyncio.sleep(60)


if __name__ == "__main__":
    if (point := os.environ.get("REWINDOW_DIES")) is not None:
        POINTS[point]()
    asyncio.run(_run())

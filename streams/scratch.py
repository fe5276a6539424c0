"""A scratch space: both tables of one partition in one RocksDB, so that they are written as one.

Whatever ends the process, rows and position are of the same moment, and a fold goes on from there.
"""

from pathlib import Path
from typing import Final

from rocksdict import Options, Rdict, WriteBatch

from schemas.topics import TAILS, WINDOWS
from streams.tables.lane import Flight
from streams.tables.overlay import Overlay, fill

OFFSET_KEY: Final = b"\0scratch"
"""A key that no row has."""
NOTE_PREFIX: Final = b"note "
WRITE_BUFFER_BYTES: Final = 16 << 20


class Scratch:
    """A folder that is made where it is missing; what it holds stays. `windows` and `tails` show
    what was there and what was put since."""

    def __init__(self, folder: Path, partition: int) -> None:
        self.partition = partition
        options = _options()
        options.create_missing_column_families(True)
        path = str(partition_folder(folder, partition))
        self._db = Rdict(path, options, {TAILS: _options(), WINDOWS: _options()})
        self._families = [self._db.get_column_family(table) for table in (TAILS, WINDOWS)]
        self.tails, self.windows = (Overlay(family, OFFSET_KEY) for family in self._families)

    def write(self, flight: Flight) -> None:
        """All of it, or nothing."""
        batch = WriteBatch(raw_mode=True)
        for table, writes in ((TAILS, flight.tails), (WINDOWS, flight.windows)):
            batch.set_default_column_family(self._db.get_column_family_handle(table))
            fill(batch, writes)
        self._db.write(batch)
        self.tails.landed()
        self.windows.landed()

    def note(self, name: str) -> bytes | None:
        """Something written down beside the tables."""
        found: bytes | None = self._db.get(NOTE_PREFIX + name.encode())
        return found

    def write_note(self, name: str, text: bytes) -> None:
        """Write something down."""
        self._db.put(NOTE_PREFIX + name.encode(), text)

    def close(self) -> None:
        """Let somebody else have it."""
        for db in (*self._families, self._db):
            db.close()


def partition_folder(folder: Path, partition: int) -> Path:
    """Where one partition's is."""
    return folder / f"partition-{partition}"


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    return options

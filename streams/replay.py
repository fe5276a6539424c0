"""The log folded again, from its start, into a scratch space: the measure of everything live."""

from pathlib import Path
from typing import Final

from rocksdict import Options, Rdict

from streams.core.policies import Measures
from streams.folding import fold_record
from streams.tables.digest import Digest, digest_of
from streams.tables.lane import Lane
from streams.tables.overlay import Overlay
from streams.tables.source import Source

RECORDS_PER_STORE: Final = 2000
OFFSET_KEY: Final = b"\0scratch"


class Replay:
    """One partition. Blocks; needs no Faust and writes nothing to Kafka."""

    def __init__(self, source: Source, partition: int, scratch: Path, measures: Measures) -> None:
        self._source = source
        self._measures = measures
        self.start = source.bounds(partition).start
        windows, tails = (
            Overlay(scratch_db(scratch, name, partition), OFFSET_KEY)
            for name in ("windows", "tails")
        )
        self.lane = Lane(partition, windows, tails, next_offset=self.start, target=self.start)

    def fold_up_to(self, end: int) -> int:
        """Fold the records in [next, end). Returns how many there were. Raises `KafkaException`."""
        lane = self.lane
        records = stored = 0
        while lane.next < end:
            found = self._source.visible(lane.partition, lane.next, end)
            for record in found.records:
                fold_record(lane, record, self._measures)
            lane.next = max(lane.next, found.reached)
            records += len(found.records)
            if records - stored >= RECORDS_PER_STORE:
                self._store()
                stored = records
        self._store()
        return records

    def digest(self) -> Digest:
        """What the scratch tables hold."""
        lane = self.lane
        return digest_of(lane.partition, lane.windows.rows_stored(), lane.tails.rows_stored())

    def _store(self) -> None:
        if self.lane.unlifted:
            self.lane.store(self.lane.lift(), 0, 0)


def scratch_db(scratch: Path, name: str, partition: int) -> Rdict:
    """An empty RocksDB for one partition, in a folder that somebody else throws away."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    return Rdict(str(scratch / f"{name}-{partition}"), options)

"""The log folded again, from its start, into a scratch space: the measure of everything live."""

from typing import Final

from streams.core.policies import Measures
from streams.core.rows import POSITION_KEY
from streams.folding import fold_record
from streams.progress import Progress, Watch, unwatched
from streams.scratch import Scratch
from streams.tables.digest import Digest, digest_of
from streams.tables.lane import Lane
from streams.tables.source import Source

RECORDS_PER_STORE: Final = 2000


class Replay:
    """One partition, from where the scratch space has got to. Blocks; needs no Faust and writes
    nothing to Kafka. `start`: where the log begins."""

    def __init__(self, source: Source, scratch: Scratch, measures: Measures) -> None:
        self._source = source
        self._scratch = scratch
        self._measures = measures
        self.start = source.bounds(scratch.partition).start
        position = scratch.windows.get(POSITION_KEY)
        first = self.start if position is None else int(position) + 1
        self.lane = Lane(
            scratch.partition, scratch.windows, scratch.tails, next_offset=first, target=first
        )

    def fold_up_to(self, end: int, watch: Watch = unwatched) -> int:
        """Fold the records in [next, end). Returns how many there were. Raises `KafkaException`."""
        lane = self.lane
        records = 0
        for piece in self._source.pieces(lane.partition, lane.next, end):
            for record in piece.records:
                fold_record(lane, record, self._measures)
            lane.next = max(lane.next, piece.reached)
            records += len(piece.records)
            if lane.unlifted >= RECORDS_PER_STORE:
                self._store()
            watch(Progress(lane.partition, lane.next, end))
        self._store()
        return records

    def digest(self) -> Digest:
        """What the scratch space holds."""
        lane = self.lane
        return digest_of(lane.partition, lane.windows.rows_stored(), lane.tails.rows_stored())

    def _store(self) -> None:
        if self.lane.unlifted:
            self._scratch.write(self.lane.lift())

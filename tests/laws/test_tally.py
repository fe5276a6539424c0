"""The tally of a partition is what its heads come to, at every event and in any batching."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import Options, Rdict

from schemas.codec import encode_event
from schemas.events import LogEvent
from streams.core.head import Head
from streams.core.rows import POSITION_KEY
from streams.core.tally import TALLY_KEY, Tally, tally_of
from streams.folding import fold_record
from streams.tables.digest import Digest, digest_of
from streams.tables.lane import Lane
from streams.tables.overlay import Overlay
from streams.tables.record import Record
from tests.support.fold import START_MS, World, measures
from tests.support.strategies import logs

OFFSET_KEY = b"__offset__"


class Disk:
    """Both tables of one partition, and the lanes that are opened over them one after the other."""

    def __init__(self, folder: Path) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        self.dbs = [Rdict(str(folder / name), options) for name in ("windows", "tails")]

    def lane(self) -> Lane:
        windows, tails = (Overlay(db, OFFSET_KEY) for db in self.dbs)
        position = windows.get(POSITION_KEY)
        start = 0 if position is None else int(position) + 1
        return Lane(0, windows, tails, next_offset=start, target=start)

    def close(self) -> None:
        for db in self.dbs:
            db.close()


def _heads(lane: Lane) -> list[Head]:
    return [head for _, head in lane.heads_from(b"")]


def _folded(log: list[LogEvent], batches: st.DataObject | None) -> tuple[Tally, Digest]:
    """Fold a log. Without batches all of it goes into one; else they end, and lanes are opened
    anew, wherever Hypothesis likes."""
    with TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        lane = disk.lane()
        for offset, event in enumerate(log):
            key, value = event.subject.encode(), encode_event(event)
            fold_record(lane, Record(0, offset, START_MS, key, value), measures)
            assert lane.tally == tally_of(_heads(lane))
            if batches is not None and batches.draw(st.booleans(), label="batch ends"):
                lane.store(lane.lift(), 0, 0)
                if batches.draw(st.booleans(), label="starts again"):
                    lane = disk.lane()
                    assert lane.tally == tally_of(_heads(lane))
        lane.store(lane.lift(), 0, 0)
        again = disk.lane()
        digest = digest_of(0, again.windows.rows_stored(), again.tails.rows_stored())
        assert digest.contexts == len(_heads(again)) == again.tally.contexts
        disk.close()
        return again.tally, digest


@settings(max_examples=20)
@given(log=logs(), batches=st.data())
def test_the_tally_is_the_sum_over_the_heads_in_any_batching(
    log: list[LogEvent], batches: st.DataObject
) -> None:
    tally, digest = _folded(log, batches)
    assert (tally, digest) == _folded(log, None)

    world = World()
    world.take_all(*log)
    assert tally == tally_of(world.heads.values())
    assert tally.hot == sum(len(world.numbered("m", name)) for name in world.heads)


@settings(max_examples=10)
@given(log=logs())
def test_tables_that_have_no_tally_yet_are_counted_once(log: list[LogEvent]) -> None:
    with TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        lane = disk.lane()
        for offset, event in enumerate(log):
            key, value = event.subject.encode(), encode_event(event)
            fold_record(lane, Record(0, offset, START_MS, key, value), measures)
        lane.store(lane.lift(), 0, 0)
        del disk.dbs[0][TALLY_KEY]
        assert disk.lane().tally == lane.tally
        disk.close()

"""The archive agent: facts into Postgres, and the watermark back into the log.

It reads the facts of the partitions that this node owns, in order, from the position that Postgres
holds: below it everything is archived and announced. So the position of a batch is stored with the
next one. When the process dies between a commit and its announcement, the batch is read again,
changes nothing, and is announced after all.
"""

import threading
import time
from typing import Final

import structlog
from confluent_kafka import KafkaException
from msgspec import Struct
from msgspec.structs import replace

from schemas.codec import Unreadable, decode_fact
from schemas.facts import MessageAccepted, UndoAccepted
from schemas.limits import MESSAGE_BYTES_MAX
from streams.archive.batch import Batch
from streams.archive.errors import ArchiveUnavailable, ArchiveUnfit
from streams.archive.facts import Arrived, Facts, FactsLost
from streams.archive.healing import Healer, Hot, LoopTail
from streams.archive.herald import Herald
from streams.archive.row import ArchiveRow, ArchiveUndo, row_of, undo_of
from streams.archive.status import ArchiveStatus
from streams.archive.writer import ArchiveWriter, Written
from streams.metrics import Metrics
from streams.settings import StreamSettings

log = structlog.get_logger()

POLL_S: Final = 0.1
POLL_RECORDS_MAX: Final = 500
BATCH_BYTES_MAX: Final = 16 * MESSAGE_BYTES_MAX
RETRY_FIRST_S: Final = 0.25
RETRY_LAST_S: Final = 5.0
HEAL_FIRST_S: Final = 1.0
HEAL_LAST_S: Final = 30.0
END_PATIENCE_S: Final = 10.0
"""A new leader of a partition may not know its last records at once."""
STOP_S: Final = 20.0
STILL_S: Final = 60.0
"""Twice what Postgres gives a statement: a server that hangs does not even say that it does."""


class _Lane(Struct):
    """One partition of the facts, as offsets: the next to read; below `announced` all is archived
    and announced; `stored` is what Postgres has of that (None: nothing yet)."""

    next: int
    announced: int
    stored: int | None


class ArchiveAgent:
    """A thread of its own, so that nothing in Postgres or in here can hold up the fold.

    Made on the event loop, which `hot` is called on; `own()`, `status` and `notes()` are for the
    loop as well. Raises `ArchiveUnfit` where the settings' address is none.
    """

    def __init__(self, settings: StreamSettings, hot: Hot, metrics: Metrics | None = None) -> None:
        assert settings.postgres is not None, "without Postgres there is no archive"
        kafka, topics = settings.librdkafka(), settings.topics
        self._metrics = Metrics() if metrics is None else metrics
        self._rows_max = settings.archive_batch_size
        self._interval_s = settings.archive_flush_interval_ms / 1000
        self._writer = ArchiveWriter(settings.postgres.get_secret_value(), topics.facts)
        self._facts = Facts(kafka, topics.facts)
        self._herald = Herald(kafka, topics.log, tail_keep=settings.tail_keep)
        self._healer = Healer(self._writer, LoopTail(hot))

        self._wanted: frozenset[int] = frozenset()
        self._followed: frozenset[int] = frozenset()
        self._lanes: dict[int, _Lane] = {}
        self._pending = Batch()
        self._waiting_since = time.monotonic()
        self._unannounced: dict[int, dict[str, int]] = {}
        self._heal_at = 0.0
        self._heal_pause_s = HEAL_FIRST_S
        self._retry_s = RETRY_FIRST_S

        self._status = ArchiveStatus()
        self._moved_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    # -- from the loop --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; nothing is owned yet."""
        self._thread.start()

    def own(self, partitions: set[int]) -> None:
        """Archive these partitions, and only these. Returns at once."""
        self._wanted = frozenset(partitions)

    @property
    def status(self) -> ArchiveStatus:
        """How it stands, as of the last turn."""
        return self._status

    def notes(self) -> tuple[str, ...]:
        """What is wrong with the archive, for the health report."""
        still_s = time.monotonic() - self._moved_at
        if still_s < STILL_S:
            return self._status.notes()
        return (f"the archive has not moved for {still_s:.0f} s", *self._status.notes())

    def stop(self) -> None:
        """Write what is pending, if Postgres takes it, and end. Blocks, at most `STOP_S` seconds;
        not for the loop."""
        self._stopping.set()
        if not self._thread.is_alive():
            return
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            log.warning("the archive did not end in time; what it held is read again next time")

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
                self._well()
            except (ArchiveUnavailable, ArchiveUnfit) as exc:
                self._rest(f"the archive stands still: {exc}")
            except KafkaException as exc:
                self._followed = frozenset()
                self._rest(f"the archive stands still: Kafka does not answer ({exc})")
            except Exception:
                log.exception("the archive met a bug; it goes back to its last position")
                self._drop_all_but(frozenset())
                self._rest("the archive met a bug and tries again; see the log")
        self._end()

    def _turn(self) -> None:
        """What is not announced yet comes first: nothing new is read before it is out."""
        self._writer.connect()
        self._follow()
        if self._unannounced:
            self._announce()
        self._read()
        if self._due():
            self._flush()
        if self._lanes and time.monotonic() >= self._heal_at:
            self._heal()

    def _well(self) -> None:
        self._retry_s = RETRY_FIRST_S
        if self._status.problem is not None:
            log.info("the archive goes on")
        self._tell(problem=None)

    def _rest(self, problem: str) -> None:
        """Say it once an outage, and wait."""
        if self._status.problem is None:
            log.warning(problem)
        self._tell(problem=problem)
        self._stopping.wait(self._retry_s)
        self._retry_s = min(2 * self._retry_s, RETRY_LAST_S)

    def _tell(self, **changes: object) -> None:
        self._moved_at = time.monotonic()
        self._status = replace(self._status, pending_rows=len(self._pending.rows), **changes)
        self._metrics.archive_pending_rows.set(len(self._pending.rows))
        self._metrics.archive_pending_contexts.set(len(self._pending.contexts))
        self._metrics.archive_holes.set(self._status.holes)

    def _end(self) -> None:
        try:
            self._drop_all_but(self._wanted)
            if self._unannounced:
                self._announce()
            if self._pending:
                self._flush()
            if self._lags():
                self._flush()
        except (ArchiveUnavailable, ArchiveUnfit, KafkaException) as exc:
            log.warning("the last batch is left for the next start", why=str(exc))
        self._writer.close()
        self._herald.close()
        self._facts.close()

    # -- partitions -----------------------------------------------------------------------------

    def _follow(self) -> None:
        """Begin at the stored positions; partitions that stay go on where they are."""
        wanted = self._wanted
        if wanted == self._followed:
            return
        self._drop_all_but(wanted)
        new = wanted - self._lanes.keys()
        stored = self._writer.positions(new) if new else {}
        for partition in sorted(new):
            self._lanes[partition] = self._opened(partition, stored.get(partition))
        self._facts.follow({partition: lane.next for partition, lane in self._lanes.items()})
        self._followed = wanted
        self._heal_at = 0.0

    def _drop_all_but(self, kept: frozenset[int]) -> None:
        """What was pending of the others is read again by whoever owns them now."""
        self._lanes = {p: lane for p, lane in self._lanes.items() if p in kept}
        self._unannounced = {p: seqs for p, seqs in self._unannounced.items() if p in kept}
        self._pending = self._pending.only(kept)
        self._followed = frozenset()

    def _opened(self, partition: int, position: int | None) -> _Lane:
        """A partition from a position on, or from where the facts start when it is not there."""
        bounds = self._facts.bounds(partition)
        deadline = time.monotonic() + END_PATIENCE_S
        while position is not None and position > bounds.end and time.monotonic() < deadline:
            self._stopping.wait(POLL_S)
            bounds = self._facts.bounds(partition)
        if position is None:
            return _Lane(bounds.start, bounds.start, None)
        if position < bounds.start:
            log.error(
                "facts were deleted before they were archived; what is still hot will be healed",
                partition=partition,
                first_offset=position,
                last_offset=bounds.start - 1,
            )
            return _Lane(bounds.start, bounds.start, None)
        if position > bounds.end:
            log.error(
                "the facts end before the archive's position, so their topic was made anew; "
                "the archive begins at its start",
                partition=partition,
                position=position,
                end=bounds.end,
            )
            self._writer.rewind(partition, bounds.start)
            return _Lane(bounds.start, bounds.start, bounds.start)
        return _Lane(position, position, position)

    # -- facts ----------------------------------------------------------------------------------

    def _read(self) -> None:
        if not self._lanes:
            self._stopping.wait(POLL_S)
            return
        if self._full():
            return
        room = self._rows_max - len(self._pending)
        try:
            arrived = self._facts.read(min(room, POLL_RECORDS_MAX), POLL_S)
        except FactsLost as lost:
            self._reopen(lost.partition)
            return
        for one in arrived:
            self._take(one)
        self._tell()

    def _reopen(self, partition: int) -> None:
        """Retention overtook us while we could not write: what we hold is written first."""
        if self._pending:
            self._flush()
        if (lane := self._lanes.get(partition)) is not None:
            self._lanes[partition] = self._opened(partition, lane.next)
        self._followed = frozenset()

    def _take(self, one: Arrived) -> None:
        lane = self._lanes[one.partition]
        kept = None if one.value is None else _kept(one.partition, one.next, one.value)
        if kept is not None:
            if not self._pending:
                self._waiting_since = time.monotonic()
            self._pending.add(kept)
        lane.next = max(lane.next, one.next)

    # -- batches --------------------------------------------------------------------------------

    def _lags(self) -> bool:
        """Whether Postgres does not know yet how far the facts are read."""
        return any(lane.stored != lane.next for lane in self._lanes.values())

    def _full(self) -> bool:
        return len(self._pending) >= self._rows_max or self._pending.body_bytes >= BATCH_BYTES_MAX

    def _due(self) -> bool:
        if not self._pending and not self._lags():
            return False
        return self._full() or time.monotonic() >= self._waiting_since + self._interval_s

    def _flush(self) -> None:
        """One batch, in this order:

        1. Postgres commits the rows, and the position below which all is announced;
        2. the log gets the watermarks, and confirms them;
        3. the position moves behind this batch, to be stored with the next one.
        """
        if not self._pending.rows:
            # Nothing but undos, and facts that the archive does not keep: of those nothing is
            # announced.
            for lane in self._lanes.values():
                lane.announced = lane.next
        positions = {partition: lane.announced for partition, lane in self._lanes.items()}
        began = time.monotonic()
        written = self._writer.write(self._pending.rows, positions, self._pending.undos)
        self._metrics.archive_flush_duration.observe(time.monotonic() - began)
        for partition, position in positions.items():
            self._lanes[partition].stored = position
        self._pending = Batch()
        self._waiting_since = time.monotonic()
        self._count(written)
        self._tell(flushed_at=time.time())
        self._announce()

    def _count(self, written: Written) -> None:
        """Nothing may be lost between the commit and the announcement, so this comes first."""
        for partition, seqs in written.watermarks.items():
            self._unannounced.setdefault(partition, {}).update(seqs)
        self._tell(
            differing=self._status.differing + written.differing,
            refused=self._status.refused + written.refused,
            holes=self._status.holes + written.new_holes,
        )
        if written.new_holes:
            self._heal_at = 0.0
            self._heal_pause_s = HEAL_FIRST_S
        self._meter(written)

    def _meter(self, written: Written) -> None:
        metrics = self._metrics
        metrics.archive_attempted.inc(written.attempted)
        metrics.archive_inserted.inc(written.inserted)
        metrics.archive_bytes_attempted.inc(written.bytes_attempted)
        metrics.archive_bytes_inserted.inc(written.bytes_inserted)
        metrics.archive_llm_token_count.inc(written.tokens_inserted)
        metrics.archive_differing.inc(written.differing)
        metrics.archive_refused.inc(written.refused)

    def _announce(self) -> None:
        reached = {partition: lane.next for partition, lane in self._lanes.items()}
        self._herald.announce(self._unannounced, reached)
        self._unannounced = {}
        if not self._pending:
            for lane in self._lanes.values():
                lane.announced = lane.next

    def _heal(self) -> None:
        """Holes of what we own, found by us or by whoever had the partition before."""
        written = self._healer.go_round(self._lanes.keys())
        self._count(written)
        if self._unannounced:
            self._announce()
        self._tell(holes=self._healer.close(self._lanes.keys()))
        if written.watermarks:
            self._heal_pause_s = HEAL_FIRST_S
            self._heal_at = 0.0
        else:
            self._heal_at = time.monotonic() + self._heal_pause_s
            self._heal_pause_s = min(2 * self._heal_pause_s, HEAL_LAST_S)


def _kept(partition: int, next_offset: int, value: bytes) -> ArchiveRow | ArchiveUndo | None:
    """What a fact asks for, if it is one that accepts a message or an undo."""
    try:
        subject, fact = decode_fact(value)
        if isinstance(fact, MessageAccepted):
            return row_of(partition, subject, bytes(fact.message), fact.event_id)
        return undo_of(partition, subject, fact) if isinstance(fact, UndoAccepted) else None
    except Unreadable as exc:
        log.error(
            "a record of the facts can't be understood and is left out",
            partition=partition,
            offset=next_offset - 1,
            why=str(exc),
        )
        return None

"""The fold agent: the one writer of heads and rows. It feeds records to the pure fold, in order.

Faust delivers; what it leaves out is read from the log itself, and what comes twice is dropped, so
that every record is folded once, whatever happens around it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException

from schemas.codec import Unreadable, encode_fact, type_of
from schemas.limits import LOG_RECORD_BYTES_MAX
from schemas.topics import (
    HEADER_OFFSET,
    HEADER_PARTITION,
    HEADER_REASON,
    HEADER_TOPIC,
    Topics,
)
from streams.core.outcome import Appended
from streams.core.policies import Measures
from streams.folding import FoldedRecord, fold_record
from streams.live import Live
from streams.metrics import Metrics
from streams.store import Answered
from streams.tables.journal import Journal, say_lost
from streams.tables.lane import Lane, Outbound
from streams.tables.record import Record
from streams.tables.source import Source
from streams.tracing import TRACING_OFF, Tracing
from streams.waiters import Waiters

log = structlog.get_logger()

ARRIVALS_MAX: Final = 4
"""Fetches that wait to be folded; of one partition each, and of 500 records at most."""
SLICE_S: Final = 0.01
"""The fold works this long before everything else on the loop gets its turn."""
RETRY_S: Final = 1.0
CUT_BYTES: Final = 64 << 10
"""What is kept of the key and of the value of a record that is too large to be buried whole."""


class FoldAgent:
    """What one record comes to is decided in `streams.core.fold`; here it is carried out."""

    def __init__(
        self,
        topics: Topics,
        journal: Journal,
        source: Source,
        waiters: Waiters,
        live: Live,
        measures: Measures,
        metrics: Metrics | None = None,
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        self._topics = topics
        self._journal = journal
        self._source = source
        self._waiters = waiters
        self._live = live
        self._measures = measures
        self._metrics = Metrics() if metrics is None else metrics
        self._tracing = tracing
        # It has to be asked for: where structlog was never set up, every level is enabled.
        self._says_each = log.get_effective_level() == logging.DEBUG
        self._slice_ends = 0.0
        self._arrived: asyncio.Queue[Sequence[Record]] = asyncio.Queue(ARRIVALS_MAX)

    async def run(self) -> None:
        """Fold what arrives. Never returns."""
        while True:
            records = await self._arrived.get()
            lane = self._journal.lanes.get(records[0].partition)
            if lane is not None:
                await self._take(lane, records)

    async def arrive(self, partition: int, found: Sequence[Any]) -> None:
        """Take what Faust's consumer has fetched of a partition, but for what is folded already.
        Waits while enough of it waits here."""
        lane = self._journal.lanes.get(partition)
        first = math.inf if lane is None else lane.next
        records = [
            Record(partition, r.offset, r.timestamp, r.key, r.value)
            for r in found
            if r.offset >= first
        ]
        if records:
            await self._arrived.put(records)

    def written(self, records: Sequence[Record]) -> None:
        """Fold what this node wrote itself, as soon as the broker has it: whoever waits for it need
        not wait until it came back through Faust, which is twice as long. What does not come next
        in its lane has others before it, and comes after them."""
        lanes = set()
        for record in records:
            if (lane := self._journal.lanes.get(record.partition)) is not None:
                lane.written.append(record)
                lanes.add(lane)
        for lane in lanes:
            if not lane.turn.locked():
                self._fold_written(lane)

    async def read_on(self, lane: Lane, end: int) -> None:
        """Fold what the log holds up to `end`, without Faust."""
        async with lane.turn:
            await self._fill(lane, end)

    async def _take(self, lane: Lane, records: Iterable[Record]) -> None:
        async with lane.turn:
            for record in records:
                if not self._journal.has_room:
                    await self._journal.room()
                if record.offset > lane.next:
                    await self._fill(lane, record.offset)
                if not self._journal.holds(lane):
                    return
                if record.offset == lane.next:
                    self._fold(lane, record)
                    await self._breathe()
            if self._journal.holds(lane):
                self._fold_written(lane)

    def _fold_written(self, lane: Lane) -> None:
        written = lane.written
        while written and written[0].offset <= lane.next and self._journal.has_room:
            record = written.popleft()
            if record.offset == lane.next:
                self._fold(lane, record)
        if lane.unlifted:
            self._journal.folded(lane)

    async def _fill(self, lane: Lane, end: int) -> None:
        """Fold every committed record up to `end`. Where there is none, the hole is proven."""
        while self._journal.holds(lane) and lane.next < end:
            await self._journal.room()
            try:
                found = await asyncio.to_thread(
                    self._source.visible, lane.partition, lane.next, end
                )
            except KafkaException as exc:
                log.warning("the log can't be read, trying again", why=str(exc))
                await asyncio.sleep(RETRY_S)
                continue
            log.info(
                "read the log beside Faust",
                partition=lane.partition,
                first=lane.next,
                next=found.reached,
                records=len(found.records),
            )
            if found.kept_from > lane.next:
                say_lost(lane.partition, lane.next, found.kept_from)
            self._metrics.holes.inc(found.reached - lane.next - len(found.records))
            for record in found.records:
                if not self._journal.holds(lane):
                    return
                self._fold(lane, record)
                await self._breathe()
            lane.next = max(lane.next, found.reached)
            self._journal.folded(lane)

    def _fold(self, lane: Lane, record: Record) -> None:
        """Store, publish the facts, answer. A crash before they are durable does it all again."""
        began_ns = time.time_ns() if self._tracing.on else 0
        hot = lane.tally.hot
        done = fold_record(lane, record, self._measures)
        if isinstance(done, Unreadable):
            return self._bury(lane, record, str(done))
        event = done.event
        self._publish(lane, record, done)
        for folded in done.results:
            answered = Answered(folded.outcome, folded.head)
            self._waiters.answer(lane.partition, folded.context_id, event.id, answered)
            self._live.publish(folded)
        # Only a watermark makes the tail shorter.
        self._metrics.folded(event, done.results, trimmed=max(0, hot - lane.tally.hot))
        if self._tracing.on:
            self._tracing.folded(self._topics.log, record, event, began_ns)
        if self._says_each:
            _say(record, done)
        return None

    def _publish(self, lane: Lane, record: Record, done: FoldedRecord) -> None:
        """An id says which fact of which record it is, so that whoever gets one twice sees it."""
        topic, trail = self._topics.facts, done.event.trail
        numbers = count()
        for folded in done.results:
            subject = folded.context_id
            key = subject.encode()
            for fact in folded.facts:
                fact_id = f"{record.partition}.{record.offset}.{next(numbers)}"
                value = encode_fact(fact, fact_id=fact_id, subject=subject, trail=trail)
                lane.emit(Outbound(topic, key, value, {}))

    def _bury(self, lane: Lane, record: Record, reason: str) -> None:
        self._metrics.dead.inc()
        log.warning(
            "a record can't be understood, see the dead-letter topic",
            partition=record.partition,
            offset=record.offset,
            reason=reason,
        )
        key, value = record.key, record.value
        size = len(key or b"") + len(value or b"")
        if size > LOG_RECORD_BYTES_MAX:
            # Compressed it was small enough for the log; unpacked, no other topic takes it.
            reason = f"{reason} (the first bytes of {size}; the rest is in the log)"
            key, value = (part and part[:CUT_BYTES] for part in (key, value))
        headers = {
            HEADER_REASON: reason.encode(),
            HEADER_TOPIC: self._topics.log.encode(),
            HEADER_PARTITION: b"%d" % record.partition,
            HEADER_OFFSET: b"%d" % record.offset,
        }
        lane.emit(Outbound(self._topics.dead, key, value, headers))

    async def _breathe(self) -> None:
        if time.monotonic() > self._slice_ends:
            await asyncio.sleep(0)
            self._slice_ends = time.monotonic() + SLICE_S


def _say(record: Record, done: FoldedRecord) -> None:
    """A line for each context that the event was about, without a word of what it says."""
    for folded in done.results:
        head, outcome = folded.head, folded.outcome
        log.debug(
            "event folded",
            context_id=folded.context_id,
            seq=outcome.last_seq if isinstance(outcome, Appended) else None,
            version=None if head is None else head.version,
            type=type_of(done.event.data),
            outcome=type(outcome).__name__,
            request_id=done.event.trail.request_id,
            partition=record.partition,
            offset=record.offset,
        )

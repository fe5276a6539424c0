"""The watch: compares what has been folded with what the log holds, and tells when they part; and
whether it is still the same log.

Faust can skip the last records of a partition and then stay silent until the next one arrives,
which on an idle partition is never.
"""

import asyncio
import math
import time
from contextlib import suppress
from typing import Final

import structlog
from confluent_kafka import KafkaException

from streams.agents.fold import FoldAgent
from streams.tables.journal import Journal
from streams.tables.lane import Lane
from streams.tables.source import Source

log = structlog.get_logger()

PERIOD_S: Final = 1.0
PERIOD_WHILE_BEHIND_S: Final = 0.25
STILL_S: Final = 0.9
"""How long a partition stands still before it is read here: less, and Faust may only be busy with
another one."""
"""Until a partition has caught up, requests to it wait; so the look is more frequent."""
ANSWER_S: Final = 3.0
LOG_PERIOD_S: Final = 5.0
"""Each time a connection is made, so it is not done with each look: 2 ms of CPU."""


class LagWatch:
    """`silent_since`: when the broker was last heard, None while it answers (monotonic seconds)."""

    def __init__(self, journal: Journal, source: Source, agent: FoldAgent) -> None:
        self.silent_since: float | None = None
        self._silent_at = -math.inf
        self._journal = journal
        self._source = source
        self._agent = agent
        self._moved: dict[int, tuple[int, float]] = {}
        self._log_seen_at = time.monotonic()

    async def run(self) -> None:
        """Look again and again. Never returns. Raises `TablesUnfit`."""
        while True:
            lanes = list(self._journal.lanes.values())
            behind = any(not lane.caught_up for lane in lanes)
            await asyncio.sleep(PERIOD_WHILE_BEHIND_S if behind else PERIOD_S)
            for lane in lanes:
                await self._look(lane)
            if time.monotonic() >= self._log_seen_at + LOG_PERIOD_S:
                await self._look_at_log()

    def silent_within(self, seconds: float) -> bool:
        """Whether the broker does not answer now, or did not so long ago."""
        silent_s = time.monotonic() - self._silent_at
        return self.silent_since is not None or silent_s < seconds

    async def _look(self, lane: Lane) -> None:
        """A lane that stands still below the end of the log is fed from the log itself."""
        if not self._journal.holds(lane):
            return
        try:
            bounds = await asyncio.to_thread(self._source.bounds, lane.partition, ANSWER_S)
        except KafkaException as exc:
            self._silent_at = time.monotonic()
            if self.silent_since is None:
                self.silent_since = self._silent_at
                log.warning("the broker does not answer", why=str(exc))
            return
        if self.silent_since is not None:
            self.silent_since = None
            log.info("the broker answers again")
        lane.end = bounds.end
        if lane.next < bounds.end and self._still_s(lane) >= STILL_S:
            await self._agent.read_on(lane, bounds.end)

    async def _look_at_log(self) -> None:
        # Whether the broker answers is found out by the other look.
        with suppress(KafkaException):
            await self._journal.check_log()
        self._log_seen_at = time.monotonic()

    def _still_s(self, lane: Lane) -> float:
        """How long ago it was first seen where it stands."""
        now = time.monotonic()
        next_offset, since = self._moved.get(lane.partition, (-1, now))
        if next_offset != lane.next:
            since = now
        self._moved[lane.partition] = (lane.next, since)
        return now - since

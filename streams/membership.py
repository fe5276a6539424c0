"""Whether this node can still be sure of what the group has given to it.

Whoever falls silent for a session loses its partitions to others, who go on with them. A node that
was stopped for as long does not know it when it wakes up, and has the old state in its hands.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

TICK_S: Final = 0.25
PAUSES_PER_SESSION: Final = 3
"""A node that stood still for longer than this part of its session has to ask the group first."""


class Membership:
    """`acknowledged_at`: when the last heartbeat was sent that the group has acknowledged, in
    monotonic seconds; that clock goes on while the process is stopped. `silent_within`: whether the
    broker was seen not to answer within so many seconds.

    It costs two looks at the clock, so that it can be asked before each read.
    """

    def __init__(
        self,
        session_s: float,
        acknowledged_at: Callable[[], float],
        silent_within: Callable[[float], bool],
    ) -> None:
        self._session_s = session_s
        self._acknowledged_at = acknowledged_at
        self._silent_within = silent_within
        self._ticked_at = math.inf
        self._woken_at = -math.inf

    async def run(self) -> None:
        """Notice pauses of this process. Never returns."""
        while True:
            self._tick()
            await asyncio.sleep(TICK_S)

    @property
    def sure(self) -> bool:
        """Whether nobody else can have our partitions: a heartbeat was acknowledged since we woke
        up, and within the session that it began."""
        now = self._tick()
        at = self._acknowledged_at()
        return at >= self._woken_at and now - at < self._session_s

    @property
    def doubt(self) -> str | None:
        """Why nothing may be served from the tables; None where it may.

        Without an acknowledged heartbeat it may be served, as possibly old, only by a node that was
        awake all the time and hears nothing from the broker at all: then there is nobody who could
        give its partitions to others, for all that it knows.
        """
        if self.sure:
            return None
        if self._acknowledged_at() < self._woken_at:
            return (
                "this node was stopped, and does not know yet whether it still has its partitions"
            )
        if self._silent_within(self._session_s):
            return None
        silent_s = time.monotonic() - self._acknowledged_at()
        return f"the group has not acknowledged this node for {silent_s:.0f} s"

    def _tick(self) -> float:
        """Whoever asks first after a pause notices it."""
        now = time.monotonic()
        if now - self._ticked_at > self._session_s / PAUSES_PER_SESSION:
            self._woken_at = now
        self._ticked_at = now
        return now

"""The broker's clock, as people read it."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

YEAR_9999_MS: Final = 253_402_300_799_999
TIMES_KNOWN: Final = 64
"""A broker gives all messages of a batch one time, and an event may hold many."""


@lru_cache(TIMES_KNOWN)
def rfc3339(timestamp_ms: int) -> str:
    """Milliseconds since 1970 as `2026-01-31T23:59:59.123Z`.

    A timestamp that no calendar holds (before 1970, after the year 9999) is shown as the nearest
    one that does: a broken clock must not stop a partition.
    """
    ms = min(max(timestamp_ms, 0), YEAR_9999_MS)
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(TIMES_KNOWN)
def _second(since_1970: int) -> str:
    return f"{datetime.fromtimestamp(since_1970, UTC):%Y-%m-%dT%H:%M:%S}"

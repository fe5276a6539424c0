"""The broker's clock, as people read it."""

from datetime import UTC, datetime

YEAR_9999_MS = 253_402_300_799_999


def rfc3339(timestamp_ms: int) -> str:
    """Milliseconds since 1970 as `2026-01-31T23:59:59.123Z`.

    A timestamp that no calendar holds (before 1970, after the year 9999) is shown as the nearest
    one that does: a broken clock must not stop a partition.
    """
    ms = min(max(timestamp_ms, 0), YEAR_9999_MS)
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"

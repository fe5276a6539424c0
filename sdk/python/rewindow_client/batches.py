"""Messages in the portions in which they are sent."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rewindow_client.shapes import AnyMessage, Json, sent

MESSAGES_MAX: Final = 100
"""So many messages are appended at once, all or nothing."""
REQUEST_BYTES: Final = 3 << 20
"""A request may have 4 MiB."""


def batches(messages: Iterable[AnyMessage], bytes_max: int = REQUEST_BYTES) -> Iterator[list[Json]]:
    """As many messages at a time as may be sent at once, and have so many bytes together; one that
    is larger goes alone."""
    batch: list[Json] = []
    size = 0
    for message in map(sent, messages):
        added = len(encoded(message))
        if batch and (len(batch) == MESSAGES_MAX or size + added > bytes_max):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += added
    if batch:
        yield batch


def encoded(value: Any) -> bytes:
    """The JSON of what is sent. Raises `ValueError` where there is none: msgspec would write NaN as
    null."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

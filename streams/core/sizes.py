"""How large messages may be."""

from collections.abc import Sequence

import msgspec

from schemas.events import Message
from schemas.limits import MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX

_encoder = msgspec.json.Encoder()


def problem_of_sizes(messages: Sequence[Message], field: str) -> str | None:
    """Say which message, or all of them together, is too large; None where none is."""
    # Nearly always all of them together are smaller than one may be.
    if len(_encoder.encode(messages)) <= MESSAGE_BYTES_MAX:
        return None
    total = 0
    for i, message in enumerate(messages):
        size = len(_encoder.encode(message))
        total += size
        if size > MESSAGE_BYTES_MAX:
            return f"{field}[{i}] has {size} bytes; at most {MESSAGE_BYTES_MAX} are allowed"
    if total > REQUEST_BYTES_MAX:
        return f"{field} have {total} bytes; at most {REQUEST_BYTES_MAX} are allowed at once"
    return None

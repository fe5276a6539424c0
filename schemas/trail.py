"""The trail: what travels with an event so that people can follow it, and says nothing to the fold.

On the wire these are extension attributes of CloudEvents, `requestid` and `traceparent`, from the
log event on to every fact that comes of it. What is not sound is left out as if it were not there:
a foreign record may use the names for something else, and no message is lost over them.
"""

import re
from typing import Final

from msgspec import Struct

from schemas.limits import REQUEST_ID_CHARS_MAX

_REQUEST_ID = re.compile(rf"[!-~]{{1,{REQUEST_ID_CHARS_MAX}}}")
# W3C Trace Context: version, trace id, parent id, flags; neither id is all zeros.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


class Trail(Struct, frozen=True):
    """`request_id`: the HTTP request that the event comes from. `traceparent`: the span."""

    request_id: str | None = None
    traceparent: str | None = None


NO_TRAIL: Final = Trail()


def is_request_id(text: str) -> bool:
    """Whether it is 1 to 128 visible ASCII characters."""
    return _REQUEST_ID.fullmatch(text) is not None


def is_traceparent(text: str) -> bool:
    """Whether it names a span, as W3C Trace Context does."""
    return _TRACEPARENT.fullmatch(text) is not None

"""One record of the log, whoever read it."""

from typing import NamedTuple


class Record(NamedTuple):
    """`timestamp_ms` is the broker's clock at arrival (`LogAppendTime`)."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None

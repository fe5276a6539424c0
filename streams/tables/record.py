"""One record of the log, whoever read it."""

from typing import NamedTuple

from schemas.events import LogEvent


class Record(NamedTuple):
    """`timestamp_ms` is the broker's clock at arrival (`LogAppendTime`). `event`: what
    `value` says, where this process has written it and need not read it again."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    event: LogEvent | None = None

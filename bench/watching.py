"""What a node did, read from what it left in Kafka: nothing asks it while it works."""

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from bench.kafka import read
from rewindow.embedded.server import Server
from rewindow.errors import CannotStart
from schemas.codec import decode_event
from schemas.events import ArchiveAdvanced
from schemas.topics import WINDOWS, Topics
from streams.core.rows import POSITION_KEY

STILL_S: Final = 60.0
LOOK_AGAIN_S: Final = 0.1
AT_ONCE_S: Final = 0.05


class Span(NamedTuple):
    """From one time of the day to another one, and the events that were folded between them."""

    begun: float
    ended: float
    events: int


class _Position(NamedTuple):
    """A transaction of one partition was written at this time of the day; with it everything below
    `next` was folded."""

    at: float
    partition: int
    next: int


def folded(address: str, topics: Topics, ends: dict[int, int]) -> Span:
    """From the first transaction to the last one that has events of the backlog in it, by the times
    at which their position rows were written.

    The events of the first transaction don't count: nobody knows when they were begun.
    """
    positions = sorted(_positions(address, topics, set(ends)))
    first = positions[0]
    done = {
        partition: min(p.at for p in positions if p.partition == partition and p.next >= end)
        for partition, end in ends.items()
        if end > 0
    }
    return Span(first.at, max(done.values()), sum(ends.values()) - first.next)


class Archived(NamedTuple):
    """`begun` and `ended`: when the first batch was told of, and the last one, as times of the day
    by the broker's clock. `with_first`: messages of the first one."""

    begun: float
    ended: float
    with_first: int
    messages: int


def await_archived(
    node: Server, address: str, topics: Topics, starts: dict[int, int], messages: int
) -> Archived:
    """Wait until so many messages are in Postgres, by the watermarks that the log gets from
    `starts` on.

    Raises `CannotStart` where the node ends, or nothing comes for a minute.
    """
    archived: dict[str, int] = {}
    told: list[tuple[float, ArchiveAdvanced]] = []
    heard = time.monotonic()
    for records in read(address, topics.log, starts, follow=True):
        for record in records:
            heard = time.monotonic()
            data = decode_event(record.key(), record.value()).data
            if isinstance(data, ArchiveAdvanced):
                told.append((record.timestamp()[1] / 1000, data))
                archived |= dict(data.watermarks)
                if sum(archived.values()) >= messages:
                    return _archived(told, messages)
        if node.status is not None:
            raise CannotStart(f"the node ended with status {node.status}: {node.last_words()}")
        if time.monotonic() > heard + STILL_S:
            raise CannotStart(
                f"the node archived {sum(archived.values())} of {messages} messages, then nothing "
                f"came for {STILL_S:.0f} s; its log is {node.log}"
            )
    raise AssertionError("whoever follows reads on and on")


def _archived(told: list[tuple[float, ArchiveAdvanced]], messages: int) -> Archived:
    """A batch is told of by an event for each partition, one right after the other."""
    told.sort(key=lambda one: one[0])
    first = [one for one in told if one[0] <= told[0][0] + AT_ONCE_S]
    with_first = sum(seq for _, data in first for _, seq in data.watermarks)
    return Archived(first[-1][0], told[-1][0], with_first, messages)


def until(done: Callable[[], bool], what: str, *, within_s: float = STILL_S) -> None:
    """Look ten times a second. Raises `CannotStart` where it does not come about."""
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() > deadline:
            raise CannotStart(f"not within {within_s:.0f} s: {what}")
        time.sleep(LOOK_AGAIN_S)


def _positions(address: str, topics: Topics, partitions: set[int]) -> Iterator[_Position]:
    starts = dict.fromkeys(partitions, 0)
    for records in read(address, topics.changelog(WINDOWS), starts):
        for record in records:
            if record.key() == POSITION_KEY:
                value, partition = record.value(), record.partition()
                assert value is not None
                assert partition is not None
                yield _Position(record.timestamp()[1] / 1000, partition, int(value) + 1)

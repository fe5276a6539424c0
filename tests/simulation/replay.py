"""What the log comes to when it is folded from its start, in one go, as nobody did while it ran."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from streams import encodings
from streams.agents.fold import FoldAgent
from streams.live import Live
from streams.store import Answered
from streams.tables.digest import Digest, digest_of
from streams.tables.lane import Lane, Outbound
from streams.tables.overlay import Overlay
from streams.tables.record import Record
from tests.simulation.disk import OFFSET_KEY

if TYPE_CHECKING:
    from tests.simulation.world import World


class Replayed(NamedTuple):
    """What a partition of the log comes to. `watermarks`: of each head."""

    digest: Digest
    outbound: list[Outbound]
    answers: dict[tuple[str, str], list[Answered]]
    watermarks: dict[str, int]


class _Told:
    """Stands for `Waiters`, and remembers."""

    def __init__(self) -> None:
        self.answers: defaultdict[tuple[str, str], list[Answered]] = defaultdict(list)

    def answer(self, _partition: int, context_id: str, event_id: str, answered: Answered) -> None:
        self.answers[context_id, event_id].append(answered)


class _Empty:
    """A RocksDB that holds nothing."""

    def get(self, key: bytes | list[bytes]) -> list[None] | None:
        return [None] * len(key) if isinstance(key, list) else None

    def items(self, **_more: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


def replay(world: "World", partition: int) -> Replayed:
    """Fold one partition of the log."""
    log = world.broker.log(world.topics.log, partition)
    told = _Told()
    nobody: Any = None
    waiters: Any = told
    agent = FoldAgent(
        world.topics, nobody, nobody, waiters, Live(), encodings.measure, world.metrics
    )
    windows, tails = (Overlay(_Empty(), OFFSET_KEY) for _ in range(2))  # type: ignore[arg-type]
    lane = Lane(partition, windows, tails, next_offset=0, target=0)
    for offset, entry in log.read(0)[0]:
        agent._fold(lane, Record(partition, offset, entry.timestamp_ms, entry.key, entry.value))
    lane.next = log.end
    watermarks = {key.decode(): head.archived_seq for key, head in lane.heads_from(b"")}
    if not lane.unlifted:
        return Replayed(digest(partition, {}, {}), [], {}, {})
    flight = lane.lift()
    found = digest(partition, flight.windows, flight.tails)
    return Replayed(found, flight.outbound, told.answers, watermarks)


def digest(
    partition: int, windows: Mapping[bytes, bytes | None], tails: Mapping[bytes, bytes | None]
) -> Digest:
    """The digest of rows in any order, without RocksDB's own offset."""
    return digest_of(partition, _sorted(windows), _sorted(tails))


def _sorted(rows: Mapping[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
    return sorted((k, v) for k, v in rows.items() if v is not None and k != OFFSET_KEY)

"""Where the simulation takes the place of the world: clients, clocks, threads, RocksDB, Faust.

Everything between these seams is the code that runs in production.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog

from streams import app as wiring
from streams import faust_seams, log_writer, membership
from streams.agents import archive as archive_agent
from streams.agents import fold, watch
from streams.archive import facts, herald
from streams.tables import journal, overlay, restore, source, transaction
from tests.simulation.clients import Consumer, Producer
from tests.simulation.disk import Batch
from tests.simulation.faust import App, Table
from tests.simulation.postgres import Writer
from tests.simulation.threads import Event, Thread

if TYPE_CHECKING:
    from tests.simulation.world import World


LOOK_S = 4.0
"""Less often than in production: where nothing happens, nothing is to be seen."""


class _NoReader:
    """Reads of the archive are not simulated."""

    def __init__(self, _settings: object) -> None: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


def _changes(world: "World") -> list[tuple[Any, str, object]]:
    def of_process(kind: Callable[..., object]) -> Callable[..., object]:
        return lambda *args, **more: kind(world.current, *args, **more)

    def new_app(_settings: object) -> App:
        world.current.app = App(world.current)
        return world.current.app

    async def commit(app: App, offsets: dict[Any, int]) -> None:
        await app.commit(offsets)

    async def crash_of(app: App) -> Exception:
        return await app.crashed

    threads = SimpleNamespace(Event=of_process(Event), Thread=of_process(Thread))
    timed = (wiring, archive_agent, fold, journal, membership, restore, source, transaction, watch)
    return [
        *((m, "time", world.clock) for m in timed),
        (watch, "PERIOD_S", LOOK_S),
        (wiring, "COMMIT_PERIOD_S", LOOK_S),
        (membership, "TICK_S", LOOK_S),
        (archive_agent, "threading", threads),
        (log_writer, "threading", threads),
        (wiring, "_faust_app", new_app),
        (wiring, "JournaledTable", Table),
        (wiring, "ArchiveReader", _NoReader),
        (wiring, "Metrics", lambda: world.metrics),
        (wiring, "prepare_topics", lambda *_args, **_more: None),
        (journal.Journal, "_ask_which_log", _ask_which_log),
        (faust_seams, "install", lambda: None),
        (faust_seams, "member_id", lambda app: app.member_id),
        (faust_seams, "acknowledged_at", lambda app: app.acknowledged_at),
        (faust_seams, "group_failure", lambda _app: None),
        (faust_seams, "leave_at_stop", lambda app: setattr(app, "leaves", True)),
        (faust_seams, "commit", commit),
        (faust_seams, "crash_of", crash_of),
        *((m, "Producer", of_process(Producer)) for m in (herald, log_writer, transaction)),
        *((m, "Consumer", of_process(Consumer)) for m in (facts, restore, source)),
        *((m, "WriteBatch", Batch) for m in (overlay, restore)),
        (archive_agent, "ArchiveWriter", lambda _url, _topic: Writer(world.current)),
        (herald, "uuid4", _uuids(Random(world.seed))),
    ]


async def _ask_which_log(_journal: journal.Journal) -> bytes:
    """There is one, as long as the world stands."""
    return b"the log"


def _uuids(random: Random) -> Callable[[], UUID]:
    return lambda: UUID(int=random.getrandbits(128))


@contextmanager
def simulated(world: "World") -> Iterator[None]:
    """Run in this world, in silence."""
    changes = _changes(world)
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    said = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        structlog.configure(**said)

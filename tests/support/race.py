"""Requests that raced, and the one order that has to explain every answer: the log's."""

import time
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote

import confluent_kafka
import httpx
from msgspec import Struct

from schemas.codec import decode_event
from schemas.events import ArchiveAdvanced, LogEvent
from streams import encodings
from streams.core.fold import At
from tests.support.fold import World
from tests.support.model import Answer, answer_of, read, written


class Exchange(Struct):
    """A request and its answer. `key`: what a write was made under. `sent` and `answered`: when, in
    seconds of one clock."""

    context_id: str
    noun: str
    query: dict[str, int]
    single: bool
    key: str | None
    answer: Answer
    sent: float
    answered: float


class Recorder(httpx.AsyncBaseTransport):
    """Passes requests on, and keeps what was asked and answered."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        # Certificates that nobody asks for take long to load.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._transport = httpx.AsyncHTTPTransport(verify=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = time.monotonic()
        response = await self._transport.handle_async_request(request)
        await response.aread()
        answered = time.monotonic()
        path = request.url.raw_path.partition(b"?")[0].decode()
        context_id, _, noun = path.removeprefix("/v1/contexts/").partition("/")
        self.exchanges.append(
            Exchange(
                context_id=unquote(context_id),
                noun=noun,
                query={name: int(value) for name, value in request.url.params.items()},
                single=request.content.startswith(b'{"message":'),
                key=response.headers.get("Idempotency-Key"),
                answer=answer_of(response),
                sent=sent,
                answered=answered,
            )
        )
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


def explained(
    context_id: str, exchanges: Iterable[Exchange], log: Iterable[confluent_kafka.Message]
) -> World:
    """Assert that the order of the log explains every answer about a context, and that things can
    have happened in it: what was answered came before what was asked afterwards.

    Every write has to have a key of its own. Returns the world at the end of the log.
    """
    asked = [one for one in exchanges if one.context_id == context_id]
    events = list(_about(context_id, log))
    by_key = {one.key: one for one in asked if one.key is not None}
    writes = [by_key.pop(event.id, None) for event, _ in events]
    # What was refused at the door has a key as well, and has only seen something.
    seen = [one for one in asked if one.key is None or one.key in by_key]
    pending = [(one, _moments(one, writes)) for one in seen]

    world = World(encodings.measure)
    begun = float("-inf")
    for moment, ((event, at), write) in enumerate(zip(events, writes, strict=True)):
        pending = _without_explained(pending, moment, world, context_id)
        results = [one for one in world.fold_at(event, at) if one.context_id == context_id]
        if isinstance(event.data, ArchiveAdvanced):
            continue
        assert write is not None, f"nobody asked for {event}, or somebody asked once"
        assert write.answer == written(results[0], single=write.single)
        assert begun <= write.answered, "it was answered before an event ahead of it was asked for"
        begun = max(begun, write.sent)
    pending = _without_explained(pending, len(events), world, context_id)
    assert not pending, f"{len(pending)} answers are explained by no order, such as {pending[0]}"
    return world


def _about(
    context_id: str, log: Iterable[confluent_kafka.Message]
) -> Iterator[tuple[LogEvent, At]]:
    for record in log:
        event = decode_event(record.key(), record.value())
        if event.subject == context_id or isinstance(event.data, ArchiveAdvanced):
            yield event, At(record.offset(), record.timestamp()[1])


def _moments(one: Exchange, writes: Sequence[Exchange | None]) -> range:
    """After how many events it can have seen what it saw: all that was answered before it was
    asked, and nothing that was asked after its answer."""
    first, last = 0, len(writes)
    for number, write in enumerate(writes):
        if write is not None and write.answered < one.sent:
            first = number + 1
        if write is not None and write.sent > one.answered:
            last = min(last, number)
    return range(first, last + 1)


def _without_explained(
    pending: list[tuple[Exchange, range]], moment: int, world: World, context_id: str
) -> list[tuple[Exchange, range]]:
    """A write that is not in the log found no context."""
    return [
        (one, moments)
        for one, moments in pending
        if moment not in moments
        or one.answer != read(world, context_id, "" if one.key else one.noun, **one.query)
    ]

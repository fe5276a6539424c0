"""Who writes: users that ask a node and ask again, and strangers that write to the log directly."""

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from msgspec import Raw

from schemas.codec import encode_event, sound_data
from schemas.events import (
    NULL,
    ContextConfigured,
    ContextTombstoned,
    EventData,
    LogEvent,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    WindowCompacted,
)
from schemas.policy import LastN, LastNConfig, SkipParts, SkipPartsConfig
from streams.log_writer import partition_of
from streams.store import Answered, Unavailable
from tests.simulation.broker import Stale, Transaction

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

PARTS = (
    Raw(b'[{"type":"text","text":"hello"}]'),
    Raw(b'[{"type":"text","text":"well"},{"type":"tool_call","text":"look"}]'),
)
POLICIES = (LastN(LastNConfig(3)), SkipParts(SkipPartsConfig(("tool_call",), 4)))


def something(random: Random) -> EventData:
    """What somebody may say."""
    kind = random.random()
    if kind < 0.68:
        version = random.randrange(6) if random.random() < 0.1 else None
        return MessageAppended(_messages(random, random.randint(1, 3)), version)
    if kind < 0.75:
        return MessagesUndone(random.randint(1, 20))
    if kind < 0.85:
        policy = random.choice(POLICIES)
        return ContextConfigured(random.choice((30, 100)), None, policy, "approximate", NULL)
    if kind < 0.92:
        return WindowCompacted(_messages(random, random.randrange(3)))
    if kind < 0.99:
        return MetadataPatched(Raw(b'{"n":%d}' % random.randrange(9)))
    return ContextTombstoned()


def _messages(random: Random, number: int) -> tuple[Message, ...]:
    return tuple(
        Message("user", random.choice(PARTS), random.randint(0, 20)) for _ in range(number)
    )


class User:
    """One context's writer. It says the next thing when the last one is answered; until then it
    asks again under the same id, wherever it may."""

    def __init__(self, world: "World", context_id: str, events: int) -> None:
        self.context_id = context_id
        self.partition = partition_of(context_id, world.partitions)
        self._world = world
        self._said = 0
        self._asked = -1
        self._asking: Process | None = None
        self._events = [
            LogEvent(f"{context_id}-{n}", context_id, "/users", sound_data(something(world.random)))
            for n in range(events)
        ]

    @property
    def done(self) -> bool:
        return self._said == len(self._events)

    def say_no_more(self) -> None:
        """But what was said is to be answered."""
        del self._events[self._said + (self._asked == self._said) :]

    def act(self) -> bool:
        """Ask, or lose patience: whoever was asked then may still do it."""
        waiting = self._asking is not None and self._asking.alive
        if self.done or (waiting and not self._world.happens("impatience")):
            return False
        process = self._world.node_for(self.partition)
        if process is None:
            return False
        self._asking = process
        self._asked = self._said
        process.loop.create_task(self._ask(process, self._said))
        return True

    async def _ask(self, process: "Process", number: int) -> None:
        event = self._events[number]
        try:
            answered = await process.streams.contexts.ask(event)
        except Unavailable:
            if self._asking is process:
                self._asking = None
        else:
            self._answered(number, answered)

    def _answered(self, number: int, answered: Answered) -> None:
        self._world.checks.acknowledge(self._events[number], answered)
        if number == self._said:
            self._said += 1
            self._asking = None

    def look(self) -> bool:
        """Read the context from a node that has it, or had it."""
        process = self._world.pick([p for p in self._world.free() if p.lane(self.partition)])
        if process is None:
            return False
        told = self._world.checks.told[self.context_id]
        process.loop.create_task(self._look(process, told))
        return True

    async def _look(self, process: "Process", told: int) -> None:
        with suppress(Unavailable):
            head = await process.streams.contexts.head(self.context_id)
            self._world.checks.read(process, self.context_id, head, told)


class Strangers:
    """Other clients of Kafka: they write what they like, some in transactions that may fail."""

    def __init__(self, world: "World", contexts: list[str]) -> None:
        self._world = world
        self._contexts = contexts
        self._number = 0
        self._open: list[str] = []

    def act(self) -> None:
        """Write something, or end a transaction."""
        random = self._world.random
        if self._open and random.random() < 0.5:
            self._end_one()
        else:
            self._write(random)

    def _write(self, random: Random) -> None:
        self._number += 1
        context_id = random.choice(self._contexts)
        event = LogEvent(f"stranger-{self._number}", context_id, "/strangers", something(random))
        value = encode_event(event) if random.random() < 0.9 else b"{garbage"
        transaction = self._begun() if random.random() < 0.4 else None
        self._world.broker.write(
            self._world.topics.log,
            partition_of(context_id, self._world.partitions),
            context_id.encode(),
            value,
            {},
            transaction,
        )

    def _begun(self) -> Transaction:
        name = f"stranger-{self._number}"
        epoch = self._world.broker.fence(name)
        self._open.append(name)
        return self._world.broker.transaction(name, epoch)

    def end_all(self) -> None:
        """They are gone."""
        while self._open:
            self._end_one()

    def _end_one(self) -> None:
        """Commit or abort, unless the broker has done that itself."""
        commit = self._world.random.random() < 0.5
        with suppress(Stale):
            self._world.broker.end(self._open.pop(0), 0, commit=commit)

"""Conversations in files, made into contexts: each message once, however often it is tried."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct

from formats.conversations import Conversation, Incoming, Skipped, Value, conversations, sound
from formats.problems import NotReadable
from formats.recognising import Shape, recognise
from rewindow.client import Away, Client, Refused
from rewindow.errors import CannotStart
from rewindow.json_files import values_of
from schemas.codec import Unreadable
from schemas.ids import problem_of_context_id
from schemas.limits import (
    CONTEXT_ID_BYTES_MAX,
    MESSAGES_PER_APPEND_MAX,
    REQUEST_BYTES_MAX,
)
from streams.progress import Watch

SAMPLE_VALUES: Final = 64
"""So many values at the beginning of a file are looked at to see what it is."""
ENVELOPE_BYTES: Final = 64
"""What a request adds to its messages, at most."""
TRIES_MAX: Final = 8
PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0
KEY_HASH_BYTES: Final = 12

_NODE_WIDE: Final = ("unavailable", "unauthorized", "rate_limited", "internal")
"""Errors after which nothing else would go better."""
_NOT_IN_AN_ID = re.compile(r"[/\x00-\x1f\x7f-\x9f]")


class Wanted(Struct, frozen=True):
    """What to make of a file. `context`: the id of its only conversation; `prefix`: what the ids of
    its conversations begin with; `token_budget`: of contexts that are made here."""

    file: Path
    context: str | None = None
    prefix: str | None = None
    format: str | None = None
    token_budget: int | None = None
    dry_run: bool = False


class Imported(Struct):
    """One conversation: how many of its messages were appended, and how many were there before."""

    context: str
    appended: int = 0
    found: int = 0


class Import:
    """One run over one file."""

    def __init__(self, wanted: Wanted, client: Client | None, watch: Watch) -> None:
        self._wanted = wanted
        self._client = client
        self._watch = watch
        self._ids: Counter[str] = Counter()
        self._only = False

    def run(self) -> Iterator[Imported | Skipped]:
        """What became of each conversation, and what was skipped, as it happens.

        Raises `CannotStart` where nothing can be made of the file, or a node can't be asked.
        """
        with values_of(self._wanted.file, self._watch) as values:
            sample = list(islice(values, SAMPLE_VALUES))
            shape = self._shape(sample)
            self._only = len(sample) == 1
            self._check_names(shape)
            for number, found in enumerate(conversations(shape, chain(sample, values)), 1):
                if isinstance(found, Skipped):
                    yield found
                else:
                    yield from self._conversation(number, found, shape)

    def _shape(self, sample: Iterable[Value]) -> Shape:
        texts = []
        for _, text in sample:
            try:
                texts.append(sound(text))
            except Unreadable:
                continue
        try:
            return recognise(texts, self._wanted.format)
        except NotReadable as exc:
            raise CannotStart(f"{self._wanted.file}: {exc}") from None

    def _check_names(self, shape: Shape) -> None:
        several = shape.layout == "conversations" and not self._only
        if self._wanted.context is not None and several:
            raise CannotStart(
                f"{self._wanted.file} holds several conversations; give --prefix instead of "
                "--context"
            )

    def _conversation(
        self, number: int, found: Conversation, shape: Shape
    ) -> Iterator[Imported | Skipped]:
        context = self._context_id(number, found, shape)
        skipped: list[Skipped] = []

        def sound_ones() -> Iterator[Incoming]:
            for message in found.messages:
                if isinstance(message, Skipped):
                    skipped.append(message)
                else:
                    yield message

        done = Imported(context)
        target: _Target | None = None
        try:
            for batch in batches(sound_ones()):
                if self._client is None:
                    done.appended += len(batch.bodies)
                else:
                    target = target or _Target(self._client, found, done, self._wanted)
                    target.take(batch)
                yield from skipped
                skipped.clear()
        except Refused as exc:
            if exc.code in _NODE_WIDE:
                raise
            skipped.append(Skipped(f"context {context!r}", str(exc)))
        yield from skipped
        yield done

    def _context_id(self, number: int, found: Conversation, shape: Shape) -> str:
        """The same for the same file; a name that comes again gets a number."""
        wanted, stem = self._wanted, self._wanted.file.stem
        if wanted.context is not None:
            name = wanted.context
        elif shape.layout == "messages" or (self._only and found.id is None):
            name = stem if wanted.prefix is None else wanted.prefix
        else:
            own = _NOT_IN_AN_ID.sub("_", found.id or str(number))
            name = f"{stem}:{own}" if wanted.prefix is None else f"{wanted.prefix}{own}"
        self._ids[name] += 1
        if self._ids[name] > 1:
            name = f"{name}~{self._ids[name]}"
        if (problem := problem_of_context_id(name)) is not None:
            raise CannotStart(
                f"{problem} (1 to {CONTEXT_ID_BYTES_MAX} bytes, without '/'); give another "
                "--context or --prefix"
            )
        return name


class Batch(Struct):
    """Messages that are appended at once. `first`: the number of the first of them, from 1."""

    first: int
    bodies: list[Raw]


def batches(messages: Iterable[Incoming]) -> Iterator[Batch]:
    """As many at a time as one request holds; the same every time, wherever a run begins."""
    batch, size = Batch(1, []), 0
    for message in messages:
        bytes_more = len(bytes(message.body)) + 1
        full = size + bytes_more > REQUEST_BYTES_MAX - ENVELOPE_BYTES
        if full or len(batch.bodies) == MESSAGES_PER_APPEND_MAX:
            yield batch
            batch, size = Batch(batch.first + len(batch.bodies), []), 0
        batch.bodies.append(message.body)
        size += bytes_more
    if batch.bodies:
        yield batch


class _Said(Struct):
    """What a message says, as it is sent and as it is stored: nothing is changed on its way."""

    role: str
    parts: Raw
    metadata: Raw
    id: str | None = None


class _Target:
    """The context that a conversation goes into."""

    def __init__(self, client: Client, found: Conversation, done: Imported, wanted: Wanted) -> None:
        """Made where there is none; one that is there keeps its settings."""
        self._client = client
        self._id = done.context
        self._done = done
        try:
            self._last_seq = client.get(self._id)["last_seq"]
        except Refused as exc:
            if exc.code != "not_found":
                raise
            source = {"format": found.format, "file": wanted.file.name, "id": found.id}
            settings: dict[str, object] = {"metadata": {"source": source}}
            if wanted.token_budget is not None:
                settings["token_budget"] = wanted.token_budget
            self._last_seq = client.put(self._id, settings)["last_seq"]

    def take(self, batch: Batch) -> None:
        """Append a batch, unless it is there. Raises `Refused` where something else is."""
        if batch.first <= self._last_seq:
            self._check(batch)
            self._done.found += len(batch.bodies)
            return
        body = b'{"messages":[%b]}' % b",".join(map(bytes, batch.bodies))
        digest = blake2b(body, digest_size=KEY_HASH_BYTES).hexdigest()
        self._append(body, f"import-{batch.first}-{digest}")
        self._done.appended += len(batch.bodies)

    def _check(self, batch: Batch) -> None:
        """What was appended is there for good, long after its key is forgotten."""
        stored = self._stored(batch.first, len(batch.bodies))
        sent = [msgspec.json.decode(body, type=_Said) for body in batch.bodies]
        if stored != sent:
            raise Refused(
                f"it holds other messages than the file, from {batch.first} on; give another "
                "--context or --prefix"
            )

    def _stored(self, first: int, number: int) -> list[_Said]:
        found = self._client.stored(self._id, first, number)
        return [msgspec.json.decode(body, type=_Said) for body in found]

    def _append(self, body: bytes, key: str) -> None:
        """Under one key until it is known what became of it."""
        for attempt in range(1, TRIES_MAX + 1):
            try:
                self._client.append_body(self._id, body, key)
                return
            except (Away, Refused) as exc:
                again = isinstance(exc, Away) or exc.retry_after_s is not None
                if not again or attempt == TRIES_MAX:
                    raise
                told = exc.retry_after_s if isinstance(exc, Refused) else None
                time.sleep(min(told or PAUSE_S * 2 ** (attempt - 1), PAUSE_MAX_S))


class Report:
    """What is told of it: a line for each conversation and for all that was skipped, and a sum."""

    def __init__(self, *, dry: bool) -> None:
        self._dry = dry
        self._contexts = self._appended = self._found = self.skipped = 0

    def add(self, one: Imported | Skipped) -> str:
        """Count it; the line that tells it."""
        if isinstance(one, Skipped):
            self.skipped += 1
            return f"skipped {one.where}: {one.reason}"
        self._contexts += 1
        self._appended += one.appended
        self._found += one.found
        return f"{one.context}: {self._told(one.appended, one.found)}"

    def sum(self) -> str:
        """All of it together."""
        noun = "context" if self._contexts == 1 else "contexts"
        told = self._told(self._appended, self._found)
        return f"{self._contexts:,} {noun}: {told}, {self.skipped:,} skipped"

    def _told(self, appended: int, found: int) -> str:
        noun = "message" if appended == 1 else "messages"
        there = f", {found:,} were there" if found else ""
        return f"{appended:,} {noun} {'to import' if self._dry else 'imported'}{there}"

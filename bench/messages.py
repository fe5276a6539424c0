"""Messages of 1 KB, made of words by a seeded die: the same bytes in every run."""

import random
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

import msgspec
from msgspec import Raw

from schemas.codec import encode_event
from schemas.events import LogEvent, Message, MessageAppended
from streams.log_writer import partition_of

TEXT_BYTES: Final = 1024
TEXTS: Final = 256
"""More than the 64 KB that LZ4 looks back: no message is compressed away by its own double."""
PARTITIONS: Final = 4
TOKENS: Final = 240
"""About what a message counts in `o200k_base`."""

_PROSE: Final = (
    "the of and to in is that for it as was with be by on not he this are or his from at which but "
    "have an had they you were their one all we can her has there been if more when will would who "
    "so no people between government nothing question important without another business however "
    "interest language remember together understand development information conversation "
    "function return value error message request response token context window compact summary"
)


def texts() -> list[str]:
    """Different texts of `TEXT_BYTES` each."""
    die = random.Random(20)
    words = _PROSE.split()
    return [_text(die, words) for _ in range(TEXTS)]


def contexts(number: int) -> list[str]:
    """Ids of contexts."""
    return [f"bench-{i:04}" for i in range(number)]


def bodies() -> list[bytes]:
    """Bodies of POST messages, one message each."""
    parts = ([{"type": "text", "text": text}] for text in texts())
    return [msgspec.json.encode({"message": {"role": "user", "parts": one}}) for one in parts]


def records(
    context_ids: list[str],
    events: int,
    *,
    messages: int = 1,
    tokens: int | None = None,
    first: int = 0,
) -> Iterator[tuple[int, bytes, bytes]]:
    """Events as (partition, key, value), each with so many messages, in turn for each context.

    `tokens`: the sender's own count of each message; without it the fold counts. `first` is the
    number of the first event; the numbers make the ids.
    """
    parts = [Raw(msgspec.json.encode([{"type": "text", "text": text}])) for text in texts()]
    endless = cycle(Message("user", one, tokens) for one in parts)
    for number in range(first, first + events):
        context_id = context_ids[number % len(context_ids)]
        data = MessageAppended(tuple(islice(endless, messages)))
        value = encode_event(LogEvent(f"event-{number}", context_id, "/bench", data))
        yield partition_of(context_id, PARTITIONS), context_id.encode(), value


def _text(die: random.Random, words: list[str]) -> str:
    text = ""
    while len(text) < TEXT_BYTES:
        text += die.choice(words) + die.choice((" ", " ", " ", " ", " ", ", ", ". "))
    return text[:TEXT_BYTES]

"""Messages of 1 KB as events of the log."""

from collections.abc import Iterator
from itertools import cycle, islice

import msgspec
from msgspec import Raw

from bench.messages import PARTITIONS, texts
from schemas.codec import encode_event
from schemas.events import LogEvent, Message, MessageAppended
from streams.log_writer import partition_of


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

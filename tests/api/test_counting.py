"""Tokens counted at the edge."""

import threading

from msgspec import Raw

from api.counting import COUNTED_AT_ONCE_BYTES_MAX, TokenCounter
from schemas.events import Counted, Message
from streams.core.tokens import Measure, count_parts, rule_name
from tests.support.contexts import Context, said
from tests.support.memory_store import MemoryStore


class Watched:
    """Counts one token a text, and remembers in which threads."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def __call__(self, _encoding: str) -> Measure:
        def measure(_text: str) -> int:
            self.threads.append(threading.get_ident())
            return 1

        return measure


def message(text: str, tokens: int | None = None) -> Message:
    return Message("user", Raw(b'[{"type":"text","text":"%b"}]' % text.encode()), tokens)


async def test_what_the_client_counted_is_taken_as_it_is() -> None:
    watched = Watched()
    counter = TokenCounter(watched)
    assert await counter.counted([message("a", 5), message("b", 0)], "o200k_base") is None
    assert await counter.counted([], "o200k_base") is None
    assert watched.threads == []

    counted = await counter.counted([message("a", 7), message("b")], "o200k_base")
    alone = count_parts(lambda _text: 1, message("b").parts)
    assert counted == Counted(rule_name("o200k_base"), (7, alone))


async def test_large_texts_and_first_uses_do_not_hold_up_the_loop() -> None:
    watched = Watched()
    counter = TokenCounter(watched)
    here = threading.get_ident()
    await counter.counted([message("first")], "o200k_base")
    assert watched.threads.pop() != here
    await counter.counted([message("second")], "o200k_base")
    assert watched.threads.pop() == here
    await counter.counted([message("another encoding")], "cl100k_base")
    assert watched.threads.pop() != here
    await counter.counted([message("x" * COUNTED_AT_ONCE_BYTES_MAX)], "o200k_base")
    assert here not in watched.threads


async def test_the_counts_travel_with_the_event(context: Context, store: MemoryStore) -> None:
    answer = await context.post({"message": said("some text")})
    counted = store.log[-1].data.counted
    assert counted == Counted(rule_name("o200k_base"), (answer.json()["token_estimate"],))
    await context.compact({"replacement": [said("a"), said("b", tokens=9)]})
    assert store.log[-1].data.counted.token_counts[1] == 9

"""Tokens counted at the edge, so that the fold need not."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from schemas.events import Counted, EncodingName, Message
from streams.core.tokens import Measure, count_parts, rule_name

COUNTED_AT_ONCE_BYTES_MAX: Final = 64 << 10
"""More than this is counted in a thread: it would hold up everybody for over 5 ms."""


class TokenCounter:
    """Counts with the encoding of a context. `measure` gives an encoding's measure by its name."""

    def __init__(self, measure: Callable[[str], Measure]) -> None:
        self._measure = measure
        self._loaded: set[str] = set()

    async def counted(self, messages: Sequence[Message], encoding: EncodingName) -> Counted | None:
        """Counts of the messages; None where the client has counted all of them."""
        if all(message.token_count is not None for message in messages):
            return None
        size_bytes = sum(len(bytes(message.parts)) for message in messages)
        # The first use of an encoding loads its vocabulary, which takes a third of a second.
        if size_bytes <= COUNTED_AT_ONCE_BYTES_MAX and encoding in self._loaded:
            return self._counted(messages, encoding)
        counted = await asyncio.to_thread(self._counted, messages, encoding)
        self._loaded.add(encoding)
        return counted

    def _counted(self, messages: Sequence[Message], encoding: EncodingName) -> Counted:
        measure = self._measure(encoding)
        counts = (
            count_parts(measure, message.parts)
            if message.token_count is None
            else message.token_count
            for message in messages
        )
        return Counted(rule_name(encoding), tuple(counts))

"""The ids of calls and the names of tools, as a provider takes them. A call and its result keep one
id between them."""

import re
from hashlib import blake2b
from typing import Final

from formats.parts import ToolCall
from formats.window import Piece

_OTHER = re.compile(r"[^a-zA-Z0-9_-]")
_HASH_BYTES = 8
TOOL_NAME_CHARS_MAX: Final = 64


class CallIds:
    """Gives out ids. `chars_max`: how long they may be; `plain`: only letters, digits, `_` and `-`;
    `unique`: no two calls have the same, even if they had.

    What fits already stays as it is. Two that differ never become the same.
    """

    def __init__(self, chars_max: int, *, plain: bool = False, unique: bool = False) -> None:
        self._chars_max = chars_max
        self._plain = plain
        self._unique = unique
        self._given: set[str] = set()

    def for_call(self, call: Piece) -> str:
        """To be asked once for each call, in order."""
        assert isinstance(call.part, ToolCall)
        wanted = call.part.call_id
        given, again = self.fitting(wanted), 1
        while self._unique and given in self._given:
            again += 1
            given = self._hashed(f"{wanted}\0{again}")
        self._given.add(given)
        return given

    def fitting(self, wanted: str) -> str:
        """The id itself, or else one made of it."""
        fits = 0 < len(wanted) <= self._chars_max and not (self._plain and _OTHER.search(wanted))
        return wanted if fits else self._hashed(wanted)

    def _hashed(self, wanted: str) -> str:
        digest = blake2b(wanted.encode(), digest_size=_HASH_BYTES).hexdigest()
        room = self._chars_max - len(digest) - 1
        return f"{_OTHER.sub('_', wanted)[:room]}-{digest}"


def tool_name(name: str) -> str:
    """The name of a tool as OpenAI and Anthropic take it, also in what was called long ago."""
    return _OTHER.sub("_", name)[:TOOL_NAME_CHARS_MAX] or "tool"

"""Messages of 1 KB, made of words by a seeded die: the same bytes in every run."""

import random
from functools import cache
from typing import Final

import msgspec

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


@cache
def texts() -> tuple[str, ...]:
    """Different texts of `TEXT_BYTES` each."""
    die = random.Random(20)
    words = _PROSE.split()
    return tuple(_text(die, words) for _ in range(TEXTS))


def contexts(number: int) -> list[str]:
    """Ids of contexts."""
    return [f"bench-{i:04}" for i in range(number)]


@cache
def bodies() -> tuple[bytes, ...]:
    """Bodies of POST messages, one message each."""
    parts = ([{"type": "text", "text": text}] for text in texts())
    return tuple(msgspec.json.encode({"message": {"role": "user", "parts": one}}) for one in parts)


def _text(die: random.Random, words: list[str]) -> str:
    text = ""
    while len(text) < TEXT_BYTES:
        text += die.choice(words) + die.choice((" ", " ", " ", " ", " ", ", ", ". "))
    return text[:TEXT_BYTES]

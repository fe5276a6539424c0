"""What a partition's tables hold, as a hash: the same log gives the same digest, byte for byte."""

import hashlib
from collections.abc import Iterable

from msgspec import Struct

from streams.core.rows import LOG_KEY, POSITION_KEY
from streams.core.tally import TALLY_KEY

Rows = Iterable[tuple[bytes, bytes]]


class Digest(Struct, frozen=True):
    """`position`: the log offset of the last record folded, -1 for none. The hashes are SHA-256
    over every row in the order of its key, without those that say how far which log is folded."""

    partition: int
    position: int
    windows: str
    tails: str
    contexts: int
    rows: int


def digest_of(partition: int, windows: Rows, tails: Rows) -> Digest:
    """Hash both tables of a partition. The rows have to come in the order of their keys."""
    position = -1
    heads = hashlib.sha256()
    contexts = 0
    for key, value in windows:
        if key == POSITION_KEY:
            position = int(value)
        elif key != LOG_KEY:
            _add(heads, key, value)
            contexts += key != TALLY_KEY
    messages = hashlib.sha256()
    rows = 0
    for key, value in tails:
        _add(messages, key, value)
        rows += 1
    return Digest(partition, position, heads.hexdigest(), messages.hexdigest(), contexts, rows)


def _add(total: "hashlib._Hash", key: bytes, value: bytes) -> None:
    total.update(b"%d %d " % (len(key), len(value)))
    total.update(key)
    total.update(value)

"""The tally of a partition: what its heads come to together, kept up head by head.

It is a row beside the heads and a pure function of the log like them, so that nothing has to look
at every head to say how much is hot or not archived yet, not even after a restart.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from streams.core.head import Head

TALLY_KEY: Final = b"\0tally"
"""In `windows`. No context id starts with NUL."""


class Tally(Struct, frozen=True, array_like=True):
    """`hot`: messages whose rows are in the tail. `unarchived`: messages above the watermark."""

    contexts: int = 0
    hot: int = 0
    unarchived: int = 0

    def moved(self, before: Head | None, after: Head) -> "Tally":
        """The tally after a head has taken the place of another one, or of none."""
        contexts, hot, unarchived = self.contexts, self.hot, self.unarchived
        if before is None:
            contexts += 1
        else:
            hot -= before.last_seq - before.trimmed_seq
            unarchived -= before.last_seq - before.archived_seq
        return Tally(
            contexts,
            hot + after.last_seq - after.trimmed_seq,
            unarchived + after.last_seq - after.archived_seq,
        )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Tally)


def tally_of(heads: Iterable[Head]) -> Tally:
    """What heads come to, counted one by one."""
    tally = Tally()
    for head in heads:
        tally = tally.moved(None, head)
    return tally


def encode_tally(tally: Tally) -> bytes:
    """The value of the tally's row in `windows`."""
    return _encoder.encode(tally)


def decode_tally(row: bytes) -> Tally:
    """Read the value of the tally's row."""
    return _decoder.decode(row)

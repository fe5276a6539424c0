"""Which messages of a context are undone, and which of them stand.

An undo reaches from a seq to the newest message. So the undone messages are ranges of seqs that
pile up like plates: a new one takes away those that it covers, joins the one that it touches, and
lies on top. Each is a row of the tail by its place in the pile, 0 at the bottom; the head knows how
many there are. What lies above is left over from a higher pile, and means nothing; the next undos
write over it. To take it away would make one undo as dear as thousands were.

Each range counts the undone messages up to its end, so that any place among those that stand is
found in a few steps, however long the conversation is and however much of it was undone.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Final, NamedTuple

from schemas.limits import UNDONE_RANGES_PER_READ
from streams.core.rows import GetMany, undone_key

_ROW: Final = struct.Struct(">QQQQ")


class UndoneRange(NamedTuple):
    """Every message from `from_seq` to `to_seq` is undone, those just before and behind are not.
    `upto`: how many are undone up to `to_seq`. `version`: of the last undo that had a part."""

    from_seq: int
    to_seq: int
    upto: int
    version: int


def undone_row(undone: UndoneRange) -> bytes:
    """The value of the row of a range."""
    return _ROW.pack(*undone)


def undone_of(row: bytes) -> UndoneRange:
    """Read the row of a range."""
    return UndoneRange._make(_ROW.unpack(row))


class Ranges:
    """The undone ranges of a context in the order of their seqs, read where they are needed.

    `count`: how many there are, by the head.
    """

    def __init__(self, count: int, context: bytes, get_many: GetMany) -> None:
        self.count = count
        self._context = context
        self._get_many = get_many
        self._known: dict[int, UndoneRange] = {}

    def touching(self, first: int, last: int) -> Iterator[UndoneRange]:
        """The ranges that hold any of the seqs `first` to `last`."""
        return takewhile(lambda one: one.from_seq <= last, self._from(self._index(first)))

    def standing(self, first: int, last: int) -> list[range]:
        """The runs of seqs from `first` to `last` that stand."""
        runs = []
        for one in self.touching(first, last):
            if first < one.from_seq:
                runs.append(range(first, one.from_seq))
            first = one.to_seq + 1
        if first <= last:
            runs.append(range(first, last + 1))
        return runs

    def next_standing(self, seq: int) -> int:
        """The seq, or the first one behind it that stands, or will when it is said."""
        around = self._around(seq)
        return seq if around is None else around.to_seq + 1

    def last_standing(self, seq: int) -> int:
        """The seq, or the last one before it that stands; 0 where there is none."""
        around = self._around(seq)
        return seq if around is None else around.from_seq - 1

    def undone_upto(self, seq: int) -> int:
        """How many messages are undone among the seqs up to this one."""
        index = self._index(seq)
        below = self._at(index - 1).upto if index else 0
        around = self._around(seq)
        return below if around is None else below + seq - around.from_seq + 1

    def counted_back(self, last_seq: int, offset: int, limit: int) -> list[range]:
        """The runs of seqs of up to `limit` messages that stand, when `offset` of the newest that
        stand are passed over."""
        last = last_seq - self.undone_upto(last_seq) - offset
        if last < 1:
            return []
        first = max(1, last - limit + 1)
        return self.standing(self._nth_standing(first), self._nth_standing(last))

    def since(self, version: int) -> Iterator[UndoneRange]:
        """The ranges that undos after this version had a part in."""
        return self._from(self._first(lambda one: one.version > version))

    def undo(self, first: int, last_seq: int, version: int) -> tuple[int, UndoneRange]:
        """The range that an undo of the seqs `first`, which stands, to `last_seq` lays on the pile,
        and its place there."""
        index = self._index(first - 1)
        if index < self.count:
            first = min(first, self._at(index).from_seq)
        below = self._at(index - 1).upto if index else 0
        return index, UndoneRange(first, last_seq, below + last_seq - first + 1, version)

    def _nth_standing(self, n: int) -> int:
        """The seq of the n-th message that stands, from 1 on."""
        below = self._first(lambda one: one.to_seq - one.upto >= n)
        return n + (self._at(below - 1).upto if below else 0)

    def _around(self, seq: int) -> UndoneRange | None:
        """The range that holds a seq."""
        if not self.count:
            return None
        return next(self.touching(seq, seq), None)

    def _index(self, seq: int) -> int:
        """The place of the first range that ends at this seq or behind it."""
        return self._first(lambda one: one.to_seq >= seq)

    def _first(self, holds: Callable[[UndoneRange], bool]) -> int:
        """The place of the first range of which something holds, as it does of all behind it.

        It is looked for from the top, in steps that grow, as it is mostly near there.
        """
        low, high, step = 0, self.count, 1
        while low < high:
            place = max(low, high - step)
            if not holds(self._at(place)):
                low = place + 1
                break
            high, step = place, 2 * step
        between = range(low, high)
        return low + bisect_left(between, True, key=lambda place: holds(self._at(place)))

    def _from(self, index: int) -> Iterator[UndoneRange]:
        """The ranges from a place on; the first one by itself, as often no more are wanted."""
        many = 1
        while index < self.count:
            places = range(index, min(index + many, self.count))
            yield from self._read(places) if many > 1 else [self._at(index)]
            index, many = places.stop, UNDONE_RANGES_PER_READ

    def _at(self, index: int) -> UndoneRange:
        if index not in self._known:
            self._known[index] = self._read(range(index, index + 1))[0]
        return self._known[index]

    def _read(self, places: range) -> list[UndoneRange]:
        rows = self._get_many([undone_key(self._context, index) for index in places])
        found = [undone_of(row) for row in rows if row is not None]
        assert len(found) == len(places), "the head knows how many there are"
        return found

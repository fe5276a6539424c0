"""Windows as they were answered last: between two changes of a context they are asked for by
everybody who looks at it, and putting 400 messages together takes longer than sending them."""

from collections import OrderedDict
from typing import NamedTuple

from streams.core.head import Head


class _Answer(NamedTuple):
    head: Head
    budget: int | None
    body: bytes


class KeptWindows:
    """The bodies of at most `bytes_max`, one a context; those asked for last stay.

    A body is that of one head, the very object: whatever happens to a context makes another.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._size = 0

    def find(self, context_id: str, head: Head, budget: int | None) -> bytes | None:
        """The window of this head within this budget, where it is known."""
        answer = self._answers.get(context_id)
        if answer is None or answer.head is not head or answer.budget != budget:
            return None
        self._answers.move_to_end(context_id)
        return answer.body

    def keep(self, context_id: str, head: Head, budget: int | None, body: bytes) -> None:
        """In place of what is known of the context."""
        if (before := self._answers.pop(context_id, None)) is not None:
            self._size -= len(before.body)
        self._answers[context_id] = _Answer(head, budget, body)
        self._size += len(body)
        while self._size > self._bytes_max:
            _, oldest = self._answers.popitem(last=False)
            self._size -= len(oldest.body)

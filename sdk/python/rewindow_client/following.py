"""Where a follower is, and what its stream means to it. No I/O: the doors hold the connection."""

from collections.abc import Generator, Mapping
from typing import Final, TypeVar

from rewindow_client import calls
from rewindow_client.errors import NoAnswer, OtherVersion, RateLimited, Unavailable
from rewindow_client.events import Event
from rewindow_client.exchange import (
    RETRIED,
    UNREADABLE,
    Answer,
    Asking,
    Heard,
    Pause,
    Step,
    Steps,
    refusal,
    retry_after_s,
)
from rewindow_client.frames import (
    CompactionFrame,
    ContextFrame,
    Frame,
    Gap,
    MessageFrame,
    ResetFrame,
    TombstonedFrame,
    UndoneFrame,
    told,
)

T = TypeVar("T")

PAGE_MESSAGES: Final = 1000
EVENT_STREAM: Final = "text/event-stream"

Telling = Generator[Step | Frame, Heard, None]
"""Steps, with frames to be handed out between them."""


class Following:
    """One follower of one context. `cursor`: the version up to which it knows all; None: what
    happens from now on.

    A line that is cut is taken up again at the cursor; what is told twice by that is passed over.
    Messages that are no longer hot are read from the history.
    """

    def __init__(
        self, asking: Asking, context_id: str, cursor: int | None, *, messages: bool
    ) -> None:
        self.done = False
        self.leaves = False
        """Whether the line has to be left, and taken up again after `catch_up`."""
        self._asking = asking
        self._context_id = context_id
        self._path = calls.path_of(context_id, "events")
        self._messages = messages
        self._cursor = cursor
        self._seq = 0 if cursor == 0 else None
        """Of the last message that was told, where that is known."""
        self._read_to = 0
        """The version up to which the history was read."""
        self._behind = False
        """Whether there is more to read in the history."""
        self._failures = 0
        self._away_s = 0.0
        """How long the server does not want to be asked."""

    def begin(self) -> Steps[None]:
        """Find out whether there is something to follow, before any patience; and where now is, so
        that nothing is missed when the first line is cut. Raises `RewindowError`."""
        state = yield from self._asking.ask(calls.state(self._context_id))
        if self._cursor is None:
            self._cursor = state.version
            self._seq = state.last_seq

    def stream(self) -> tuple[str, dict[str, str]]:
        """What to ask for: a path and its query."""
        query = {"cursor": str(self._cursor)}
        if not self._messages:
            query["include_messages"] = "false"
        return self._path, query

    # -- a line -----------------------------------------------------------------------------------

    def opened(self, status: int, headers: Mapping[str, str]) -> bool:
        """The head of an answer is there; whether it is a stream."""
        return status == 200 and headers.get("Content-Type", "").startswith(EVENT_STREAM)

    def refused(self, answer: Answer) -> None:
        """Something else than a stream. Raises `RewindowError` where to come back does not help."""
        self._away_s = retry_after_s(answer)
        if answer.status not in RETRIED:
            raise refusal(self._asking.url, calls.Call("GET", self._path, bytes), answer)

    def take(self, event: Event) -> list[Frame]:
        """What an event tells. Raises `OtherVersion`."""
        self._failures = 0
        try:
            frame = told(event.data)
        except UNREADABLE as exc:
            raise OtherVersion(
                f"{self._asking.url} sent an event that this client does not know ({exc}); use a "
                "client of the server's version"
            ) from None
        if event.id is not None:
            self._cursor = event.id
        match frame:
            case None:
                return []
            case Gap(actual=actual):
                self._behind = self.leaves = self._messages and self._read_to < actual
                return []
            case MessageFrame(seq=seq):
                return self._new(frame, seq)
            case ResetFrame():
                self._cursor = self._seq = self._read_to = 0
                self.leaves = True
                return [frame]
            case TombstonedFrame():
                self.done = True
                return [frame]
            case ContextFrame() | CompactionFrame() | UndoneFrame():
                return [frame]

    def _new(self, frame: MessageFrame, seq: int) -> list[Frame]:
        if self._seq is not None and seq <= self._seq:
            return []
        self._seq = seq
        return [frame]

    def pause(self) -> Steps[None]:
        """A line has ended; wait before the next one."""
        self.leaves = False
        if not self.done:
            yield Pause(max(self._away_s, self._asking.pause_s(self._failures)))
            self._failures += 1
            self._away_s = 0.0

    # -- the history ------------------------------------------------------------------------------

    def catch_up(self) -> Telling:
        """Tell what is no longer hot, and all behind it, to the end of the history. What was undone
        is told as well: the stream, taken up again where it was, says so afterwards."""
        next_seq = (yield from self._first_unknown()) if self._behind else None
        while next_seq is not None:
            call = calls.page(self._context_id, next_seq, None, PAGE_MESSAGES)
            page = yield from self._ask(call)
            for message in page.messages:
                assert message.seq is not None, "only replacements have none"
                self._seq = message.seq
                yield MessageFrame(message.version, message.seq, message)
            self._read_to = page.version
            next_seq = page.next_seq
        self._behind = False

    def _first_unknown(self) -> Steps[int]:
        """The first seq whose version is above the cursor: versions grow with seqs."""
        if self._seq is not None:
            return self._seq + 1
        assert self._cursor is not None, "begin() comes first"
        state = yield from self._ask(calls.state(self._context_id))
        low, high = 1, state.last_seq + 1
        while low < high:
            middle = (low + high) // 2
            page = yield from self._ask(calls.page(self._context_id, middle, None, 1))
            if page.messages[0].version > self._cursor:
                high = middle
            else:
                low = middle + 1
        return low

    def _ask(self, call: calls.Call[T]) -> Steps[T]:
        """As often as it takes: whoever follows outlives an outage."""
        while True:
            try:
                return (yield from self._asking.ask(call))
            except (NoAnswer, RateLimited, Unavailable):
                yield from self.pause()

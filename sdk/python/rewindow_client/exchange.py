"""How a call comes to its answer: tried again while that may help, never twice in effect, and over
in time. Both doors run the same steps; only they do I/O and wait."""

import random
import time
from collections.abc import Callable, Generator
from itertools import count
from typing import Any, Final, TypeVar

import httpx
import msgspec
from msgspec import Struct

from rewindow_client.calls import Call
from rewindow_client.errors import (
    REFUSALS,
    NoAnswer,
    NotRewindow,
    OtherVersion,
    Refused,
    RewindowError,
)

T = TypeVar("T")

ATTEMPT_S: Final = 15.0
"""How long one attempt may take of a call's time: longer than a node waits for anything."""
SHORT_S: Final = 1.0
"""That an attempt which had less than this took too long says nothing of the server."""
CONNECT_S: Final = 5.0
PAUSE_S: Final = 0.05
PAUSE_S_MAX: Final = 2.0
"""Pauses double from the one to the other; each is cut by a random half at most, so that a crowd
that was sent away does not come back as one."""

RETRIED: Final = (429, 502, 503, 504)
"""502 and 504 are what a proxy says of a node that is away."""
SHOWN_CHARS: Final = 60
UNREADABLE: Final = (msgspec.DecodeError, UnicodeError)
"""What msgspec raises of bytes that are not what they should be."""


class Send(Struct, frozen=True):
    """To be sent, and answered within so many seconds. The answer is an `Answer`, or why there is
    none."""

    call: Call[Any]
    within_s: float


class Pause(Struct, frozen=True):
    """Nothing to do for so many seconds."""

    seconds: float


class Answer(Struct, frozen=True):
    """An HTTP answer, read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes


Step = Send | Pause
Heard = Answer | httpx.RequestError | None
Steps = Generator[Step, Heard, T]
"""Gives steps out, is told what came of each, and returns a result."""


class Asking(Struct, frozen=True):
    """How calls of one client are asked. `timeout_s`: for a call altogether."""

    url: str
    timeout_s: float
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def ask(self, call: Call[T]) -> Steps[T]:
        """Until there is an answer, or no time left. Raises `RewindowError`."""
        deadline = self.clock() + self.timeout_s
        trouble: Heard = None
        for attempt in count():
            within = min(ATTEMPT_S, max(0.0, deadline - self.clock()))
            heard = yield Send(call, within)
            if isinstance(heard, Answer) and heard.status not in RETRIED:
                return understood(self.url, call, heard)
            if trouble is None or within > SHORT_S or not isinstance(heard, httpx.TimeoutException):
                trouble = heard
            wait = max(self.pause_s(attempt), retry_after_s(heard))
            if self.clock() + wait >= deadline:
                raise self._given_up(call, trouble)
            yield Pause(wait)
        raise AssertionError("attempts are without an end")

    def pause_s(self, attempt: int) -> float:
        """Seconds to wait after so many attempts but one have failed."""
        longest = min(PAUSE_S_MAX, PAUSE_S * 2.0 ** min(attempt, 16))
        return longest * (1 - self.random() / 2)

    def _given_up(self, call: Call[Any], heard: Heard) -> RewindowError:
        if isinstance(heard, Answer):
            refused = refusal(self.url, call, heard)
            if not isinstance(refused, NotRewindow):
                return refused
        doubt = "" if call.key is None else "; whether it was written is not known"
        return NoAnswer(
            f"no answer from {self.url} within {self.timeout_s:g} s ({why(heard)}){doubt}: ask "
            "again when the node is there, or mend base_url",
            call.key,
        )


def why(heard: Heard) -> str:
    """Why there is no answer."""
    match heard:
        case Answer():
            return f"a proxy before it answered {heard.status}"
        case httpx.ConnectError():
            return f"no connection: {heard}"
        case httpx.TimeoutException():
            return "it took too long"
        case httpx.TransportError():
            return f"the connection was cut before the answer was whole: {heard}"
        case _:
            return f"the answer can't be unpacked: {heard}"


# -- reading answers -----------------------------------------------------------------------------


def understood(url: str, call: Call[T], answer: Answer) -> T:
    """What an answer says. Raises `RewindowError`."""
    if not 200 <= answer.status < 300:
        raise refusal(url, call, answer)
    try:
        return call.read(answer.body)
    except msgspec.ValidationError as exc:
        raise OtherVersion(
            f"{url} answered {call.method} {call.path} with something else than this client knows "
            f"({exc}); use a client of the server's version"
        ) from None
    except UNREADABLE:
        raise _stranger(url, answer) from None


class _Problem(Struct):
    error: str
    message: str


_problem = msgspec.json.Decoder(_Problem)
_fields = msgspec.json.Decoder(dict[str, Any])


def refusal(url: str, call: Call[Any], answer: Answer) -> RewindowError:
    """The exception for an answer that is no success."""
    try:
        problem = _problem.decode(answer.body)
    except UNREADABLE:
        return _stranger(url, answer)
    fields = _fields.decode(answer.body)
    del fields["error"], fields["message"]
    kind = REFUSALS.get(problem.error, Refused)
    # What the server gives back is the better one: it may have refused ours.
    key = None if call.key is None else answer.headers.get("Idempotency-Key", call.key)
    return kind(answer.status, problem.error, problem.message, fields, key)


def _stranger(url: str, answer: Answer) -> NotRewindow:
    kind = answer.headers.get("Content-Type", "nothing that has a type")
    if "Location" in answer.headers:
        said = f"sends elsewhere, to {answer.headers['Location']}"
    else:
        said = f"answered {answer.status} with {kind}: {_shown(answer.body)!r}"
    return NotRewindow(
        f"{url} is no node of Rewindow: it {said}; give the address of one as base_url"
    )


def _shown(body: bytes) -> str:
    text = body[: 4 * SHOWN_CHARS].decode(errors="replace").strip()
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def retry_after_s(heard: Heard) -> float:
    """How long the server does not want to be asked, where it says so."""
    if not isinstance(heard, Answer):
        return 0.0
    told = heard.headers.get("Retry-After", "")
    return float(told[:9]) if told.isascii() and told.isdecimal() else 0.0

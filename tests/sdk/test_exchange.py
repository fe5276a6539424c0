"""How often a call is asked, and when it is given up: the steps alone, by a clock of their own."""

from collections.abc import Sequence
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewindow_client import NoAnswer, NotRewindow, RateLimited, Refused, Unavailable
from rewindow_client.calls import Call, append, state
from rewindow_client.exchange import (
    ATTEMPT_S,
    PAUSE_S_MAX,
    Answer,
    Asking,
    Heard,
    Pause,
    Send,
)
from rewindow_client.shapes import text

URL = "http://node"
OK = Answer(200, httpx.Headers(), b'{"first_seq":1,"last_seq":1,"version":1,"token_estimates":[3]}')
CUT = httpx.RemoteProtocolError("cut")
APPEND = append("demo", [text("user", "One")], None, None)


def refused(status: int, code: str, **headers: str) -> Answer:
    body = b'{"error":"%b","message":"Not now.","retry_after":9}' % code.encode()
    return Answer(status, httpx.Headers({k.replace("_", "-"): v for k, v in headers.items()}), body)


class Played:
    """A call that hears the same things over and over; what it did. `now`: seconds gone by."""

    def __init__(
        self, *heard: Heard, call: Call[object] = APPEND, takes_s: float = 0.0, chance: float = 0.0
    ) -> None:
        self.now = 0.0
        self.sent: list[Send] = []
        self.pauses: list[float] = []
        self._heard = list(heard)
        self._takes_s = takes_s
        asking = Asking(URL, 30.0, clock=lambda: self.now, random=lambda: chance)
        self._steps = asking.ask(call)

    def result(self) -> object:
        heard: Heard = None
        while True:
            try:
                step = self._steps.send(heard)
            except StopIteration as end:
                return end.value
            heard = None
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                self.now += step.seconds
            else:
                self.sent.append(step)
                self.now += min(self._takes_s, step.within_s)
                heard = self._heard.pop(0) if len(self._heard) > 1 else self._heard[0]


@pytest.mark.parametrize(
    "trouble",
    [
        CUT,
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        refused(503, "unavailable"),
        refused(429, "rate_limited"),
        Answer(502, httpx.Headers(), b"<html>"),
        Answer(504, httpx.Headers(), b""),
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again_under_the_same_key(trouble: Heard) -> None:
    played = Played(trouble, trouble, trouble, OK)
    played.result()
    assert len(played.sent) == 4
    assert {send.call.key for send in played.sent} == {APPEND.key}
    assert APPEND.key


@pytest.mark.parametrize("status", [400, 401, 404, 405, 409, 413, 422, 500])
def test_what_will_not_pass_is_not(status: int) -> None:
    played = Played(refused(status, "some_code"), OK)
    with pytest.raises(Refused) as raised:
        played.result()
    assert (raised.value.status, raised.value.code) == (status, "some_code")
    assert len(played.sent) == 1


def test_the_server_says_when_to_come_back() -> None:
    played = Played(refused(503, "unavailable", Retry_After="7"), OK)
    played.result()
    assert played.pauses == [7.0]


def test_a_call_is_over_before_its_time_is_and_says_what_was_the_matter() -> None:
    played = Played(refused(429, "rate_limited", Retry_After="4"))
    with pytest.raises(RateLimited, match="Not now"):
        played.result()
    assert played.now < 30.0
    with pytest.raises(Unavailable):
        Played(refused(503, "unavailable", Retry_After="30")).result()


def test_whoever_waits_in_vain_learns_of_the_doubt_and_the_key() -> None:
    with pytest.raises(NoAnswer, match=r"no answer from http://node within 30 s .*not known") as e:
        Played(CUT).result()
    assert e.value.key == APPEND.key
    with pytest.raises(NoAnswer) as e:
        Played(CUT, call=state("demo")).result()
    assert e.value.key is None
    assert "not known" not in str(e.value), "nobody writes by reading"
    with pytest.raises(NoAnswer, match="a proxy before it answered 502"):
        Played(Answer(502, httpx.Headers(), b"<html>Bad gateway</html>")).result()


def test_a_last_attempt_that_had_no_time_hides_nothing() -> None:
    refusing = httpx.ConnectError("refused")
    played = Played(refusing, refusing, httpx.ReadTimeout(""), takes_s=14.9)
    with pytest.raises(NoAnswer, match="no connection: refused"):
        played.result()


@given(
    takes_s=st.floats(0.0, 60.0),
    chance=st.floats(0.0, 1.0, exclude_max=True),
    trouble=st.lists(
        st.sampled_from([CUT, refused(503, "unavailable", Retry_After="2")]), min_size=1
    ),
)
def test_no_call_takes_longer_than_it_may(
    takes_s: float, chance: float, trouble: Sequence[Heard]
) -> None:
    played = Played(*trouble, takes_s=takes_s, chance=chance)
    with pytest.raises((NoAnswer, Unavailable)):
        played.result()
    assert played.now <= 30.0
    assert all(0 <= send.within_s <= ATTEMPT_S for send in played.sent)
    assert all(0 < pause <= PAUSE_S_MAX for pause in played.pauses)


def test_pauses_grow() -> None:
    played = Played(CUT)
    with pytest.raises(NoAnswer):
        played.result()
    assert all(one <= other for one, other in pairwise(played.pauses))
    assert played.pauses[0] < 0.1
    assert played.pauses[-1] == PAUSE_S_MAX


def test_a_crowd_does_not_come_back_as_one() -> None:
    early, late = Played(CUT, OK, chance=0.9), Played(CUT, OK, chance=0.1)
    early.result()
    late.result()
    assert early.pauses < late.pauses


def test_a_proxy_that_has_another_404_is_no_node() -> None:
    with pytest.raises(NotRewindow, match="answered 404 with text/plain: 'no such app'"):
        Played(Answer(404, httpx.Headers({"Content-Type": "text/plain"}), b"no such app")).result()

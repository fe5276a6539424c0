"""The hub: what a follower is told, and when it is not waited for."""

import pytest

from streams.live import QUEUED_BYTES_MAX, QUEUED_NEWS_MAX, Follower, TooSlow
from streams.news import Said, State
from streams.store import Unavailable


def said(seq: int, size: int = 1) -> Said:
    return Said(seq, seq, b"x" * size, True)


async def test_news_come_in_order_and_what_is_folded_again_is_old() -> None:
    follower = Follower(0, "c", offset=5)
    follower.tell(5, [said(1)])
    follower.tell(6, [said(2), State(2, 1, False)])
    follower.tell(6, [said(2)])
    follower.tell(8, [said(3)])
    assert [await follower.next() for _ in range(3)] == [said(2), State(2, 1, False), said(3)]


@pytest.mark.parametrize(("news", "size"), [(QUEUED_NEWS_MAX, 1), (9, QUEUED_BYTES_MAX // 8)])
async def test_who_falls_too_far_behind_is_given_up(news: int, size: int) -> None:
    follower = Follower(0, "c", offset=0)
    for offset in range(1, news + 2):
        follower.tell(offset, [said(offset, size)])
    with pytest.raises(TooSlow, match="cursor"):
        await follower.next()
    follower.tell(news + 5, [said(news + 5)])
    with pytest.raises(TooSlow):
        await follower.next()


async def test_what_was_taken_no_longer_counts() -> None:
    follower = Follower(0, "c", offset=0)
    for offset in range(1, 100):
        follower.tell(offset, [said(offset, QUEUED_BYTES_MAX // 2)])
        assert (await follower.next()) == said(offset, QUEUED_BYTES_MAX // 2)


async def test_a_failure_is_told_instead_of_what_is_queued() -> None:
    follower = Follower(0, "c", offset=0)
    follower.tell(1, [said(1)])
    follower.fail(Unavailable("moved"))
    with pytest.raises(Unavailable):
        await follower.next()

"""Whoever waits gets the answer to what they asked, and is forgotten afterwards."""

import asyncio
import gc
from typing import Any

import pytest

from streams.core.outcome import Compacted, Patched
from streams.store import Answered, Unavailable
from streams.waiters import Waiters

FIRST, SECOND = Answered(Compacted(1), None), Answered(Compacted(2), None)


async def test_the_answer_goes_to_whoever_asked() -> None:
    waiters = Waiters()
    future, other, elsewhere = (
        waiters.expect(0, "c", "e"),
        waiters.expect(0, "d", "e"),
        waiters.expect(1, "c", "e"),
    )
    waiters.answer(0, "c", "e", FIRST)
    assert await future is FIRST
    assert not other.done()
    assert not elsewhere.done()
    waiters.answer(0, "nobody", "asked", FIRST)


async def test_two_events_with_one_id_are_answered_in_the_order_of_their_writing() -> None:
    waiters = Waiters()
    first, second = (waiters.expect(0, "c", "e") for _ in range(2))
    waiters.answer(0, "c", "e", FIRST)
    waiters.answer(0, "c", "e", SECOND)
    assert (await first, await second) == (FIRST, SECOND)


async def test_a_retry_does_not_get_the_answer_to_what_timed_out() -> None:
    """It may have another body under the same key, which is to be refused, not confirmed."""
    waiters = Waiters()
    first = waiters.expect(0, "c", "e")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.shield(first)
    second = waiters.expect(0, "c", "e")
    waiters.answer(0, "c", "e", FIRST)
    await asyncio.sleep(0)
    assert not second.done()
    waiters.answer(0, "c", "e", SECOND)
    assert await second is SECOND


@pytest.mark.parametrize("settle", ["cancelled", "failed"])
async def test_what_never_reached_the_log_leaves_its_place_to_the_next(settle: str) -> None:
    waiters = Waiters()
    first, second = (waiters.expect(0, "c", "e") for _ in range(2))
    if settle == "cancelled":
        first.cancel()
    else:
        first.set_exception(Unavailable("the broker did not take it"))
    waiters.answer(0, "c", "e", SECOND)
    assert await second is SECOND


async def test_whoever_waits_on_a_partition_that_went_has_to_ask_again() -> None:
    waiters = Waiters()
    gone, here = waiters.expect(0, "c", "e"), waiters.expect(1, "d", "e")
    waiters.give_up_all_but({1, 2})
    with pytest.raises(Unavailable, match="moved to another node; ask again with the same"):
        await gone
    waiters.answer(1, "d", "e", FIRST)
    assert await here is FIRST


async def test_how_far_the_fold_is_behind_shows_in_who_waits_longest() -> None:
    waiters = Waiters()
    assert waiters.waited_s(0) == 0
    gone = waiters.expect(0, "c", "e")
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(0.01)
    waiters.expect(0, "d", "f")
    assert 0.01 <= waiters.waited_s(0) <= asyncio.get_running_loop().time() - begun + 0.01
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.shield(gone)
    assert waiters.waited_s(0) >= 0.01, "nobody is there for the answer, but it is still to come"
    waiters.answer(0, "c", "e", FIRST)
    await asyncio.sleep(0)
    assert waiters.waited_s(0) < 0.01
    assert waiters.waited_s(1) == 0


async def test_readers_of_a_context_hear_of_every_change_of_it() -> None:
    waiters = Waiters()
    readers, other = [waiters.change("c") for _ in range(3)], waiters.change("d")
    waiters.answer(0, "c", "whatever", Answered(Patched(), None))
    await asyncio.gather(*readers)
    assert not other.done()
    assert not waiters.change("c").done()


async def test_nothing_is_kept_of_those_who_wait_no_more() -> None:
    """A reader that polls for a version that never comes is no leak, and no error in the log."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    waiters = Waiters()
    for settle in (
        lambda f: f.cancel(),
        lambda f: f.set_exception(Unavailable("no")),
        lambda _: waiters.answer(0, "c", "e", FIRST),
        lambda _: waiters.give_up_all_but(()),
    ):
        for _ in range(3):
            settle(waiters.expect(0, "c", "e"))
    for _ in range(3):
        waiters.change("d").cancel()
    await asyncio.sleep(0)
    gc.collect()
    assert (any(waiters._answers.values()), dict(waiters._changes)) == (False, {})
    assert complaints == []

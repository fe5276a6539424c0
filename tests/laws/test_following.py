"""Laws of following: whatever happens and whenever one comes, nothing is missed and nothing told
twice."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import LogEvent
from schemas.facts import MessageAccepted, UndoAccepted
from streams.core.head import Head
from streams.following import follow
from streams.live import Live
from streams.news import Ended, Gap, News, Replaced, Reset, Said, State, Undid
from tests.support.fold import World, append, messages, undo
from tests.support.strategies import logs, undoing_logs


class Followed:
    """One context of a world, see `streams.following.Hot`."""

    partition = 0

    def __init__(self, world: World, context_id: str) -> None:
        self._world = world
        self._context_id = context_id

    def head(self) -> Head:
        return self._world.heads[self._context_id]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._world.get(key) for key in keys]


@settings(max_examples=200)
@given(log=logs() | undoing_logs(), data=st.data())
def test_replayed_and_live_have_no_seam(log: list[LogEvent], data: st.DataObject) -> None:
    asyncio.run(_followed(log, data))


async def test_nothing_is_missed_that_happens_while_a_reset_is_told() -> None:
    world, live = World(), Live()
    world.fold(append(*messages(1)))
    news = follow(live, Followed(world, "c"), "c", cursor=5)
    assert await anext(news) == Reset(1)
    for folded in world.fold(append(*messages(2))):
        live.publish(folded)
    said = await anext(news)
    assert isinstance(said, Said)
    assert (said.seq, said.version) == (2, 2)
    assert await anext(news) == State(2, 3, needs_compaction=False)
    await news.aclose()


@pytest.mark.parametrize(
    ("cursor", "told"),
    [
        (0, ["1", "2", "undone 2-2", "3", "4", "5", "undone 4-5", "6"]),
        (1, ["undone 2-2", "3", "4", "5", "undone 4-5", "6"]),
        (2, ["3", "4", "5", "undone 4-5", "6"]),
        (4, ["5", "undone 4-5", "6"]),
        (6, ["6"]),
    ],
)
async def test_a_replay_tells_what_is_undone_behind_its_last_message(
    cursor: int, told: list[str]
) -> None:
    """The undo of 5 has joined the one of 4, which is not told by itself any more."""
    world = World()
    first, second, fourth = append(*messages(1, 1)), append(*messages(1, 1)), append(*messages(1))
    world.take_all(first, undo(2), second, undo(4), fourth, undo(5), append(*messages(1)))
    found = []
    async for news in follow(Live(), Followed(world, "c"), "c", cursor):
        match news:
            case Said(seq=seq):
                found.append(str(seq))
            case Undid(from_seq=start, to_seq=end):
                found.append(f"undone {start}-{end}")
            case State():
                break
    assert found == told


async def _followed(log: list[LogEvent], data: st.DataObject) -> None:
    """Follow one context while the log goes on, and see what was told of it."""
    world, live = World(), Live()

    def fold(events: Sequence[LogEvent]) -> None:
        for event in events:
            for folded in world.fold(event):
                live.publish(folded)

    at = data.draw(st.integers(0, len(log)), label="follow from event")
    fold(log[:at])
    if not world.heads:
        return
    name = data.draw(st.sampled_from(sorted(world.heads)), label="context")
    start = world.heads[name]
    cursor = data.draw(st.none() | st.integers(0, start.version + 1), label="cursor")
    news = follow(live, Followed(world, name), name, cursor)
    told: list[News] = []
    rest = list(log[at:])
    while (one := await _next(news, rest, fold)) is not None:
        told.append(one)
        if rest and data.draw(st.booleans(), label="the log goes on"):
            fold([rest.pop(0)])
    await news.aclose()
    _check(world, name, start, cursor, told)
    assert not live._followers


async def _next(
    news: AsyncGenerator[News, None],
    rest: list[LogEvent],
    fold: Callable[[Sequence[LogEvent]], None],
) -> News | None:
    """The next news; while there is none, the log goes on. None at the end of either."""
    step = asyncio.ensure_future(anext(news, None))
    await asyncio.sleep(0)
    while not step.done() and rest:
        fold([rest.pop(0)])
        for _ in range(3):
            await asyncio.sleep(0)
    if not step.done():
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        return None
    return step.result()


def _check(world: World, name: str, start: Head, cursor: int | None, told: list[News]) -> None:
    head = world.heads[name]
    reset = cursor is not None and cursor > start.version
    since = start.version if cursor is None or reset else cursor
    assert [one for one in told if isinstance(one, Reset)] == (
        [Reset(start.version)] if reset else []
    )
    versions = [one.version for one in told if not isinstance(one, Gap)]
    assert versions == sorted(versions), "versions never go back"
    accepted = _accepted(world, name)
    seqs = [one.seq for one in told if isinstance(one, Said)]
    gaps = [one for one in told if isinstance(one, Gap)]
    wanted = [seq for seq, version in accepted.items() if version > since]
    if not gaps:
        assert seqs == wanted
    else:
        assert seqs == sorted(set(seqs))
        assert set(seqs) <= set(wanted)
        assert head.trimmed_version > since
        if seqs:
            missed = [seq for seq in wanted if seq not in seqs]
            assert all(seq <= head.trimmed_seq for seq in missed)
    for one in told:
        if isinstance(one, Said):
            assert accepted[one.seq] == one.version
            assert one.last == (accepted.get(one.seq + 1) != one.version)
    if head.version > since:
        states = [one for one in told if isinstance(one, State)]
        assert states
        assert states[-1].version == head.version
        assert states[-1].used_tokens == head.window.used_tokens
    assert [type(one) for one in told].count(Ended) == (head.status == "tombstoned")
    for kind in (Replaced, Undid):
        found = [one.version for one in told if isinstance(one, kind)]
        assert len(found) == len(set(found))
    # Where there was a gap, the messages that are missing are read elsewhere, as they are now.
    read = set(world.tail(name)) - set(seqs) if gaps else set()
    assert _known(world, name, since, told) | read == set(world.tail(name))


def _known(world: World, name: str, since: int, told: list[News]) -> set[int]:
    """What stands, to somebody who had seen all up to a version and then did as told."""
    known: set[int] = set()
    facts = [fact for who, fact in world.facts if who == name]
    accepted = iter(_accepted(world, name).items())
    for fact in facts:
        if isinstance(fact, MessageAccepted):
            seq, version = next(accepted)
            known |= {seq} if version <= since else set()
        elif isinstance(fact, UndoAccepted) and fact.version <= since:
            known -= set(range(fact.from_seq, fact.to_seq + 1))
    for one in told:
        match one:
            case Said(seq=seq):
                known.add(seq)
            case Undid(from_seq=first, to_seq=last):
                known -= set(range(first, last + 1))
    return known


def _accepted(world: World, name: str) -> dict[int, int]:
    """The version of every message that was ever accepted, by seq."""
    facts = [f for who, f in world.facts if who == name and isinstance(f, MessageAccepted)]
    versions = [json.loads(bytes(fact.message))["version"] for fact in facts]
    return dict(enumerate(versions, start=1))

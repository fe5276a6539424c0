"""What is undone is undone, nothing else is, and it costs the same however much was before."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import LogEvent, MessagesUndone
from schemas.facts import MessageAccepted, UndoAccepted
from schemas.policy import Policy
from streams.core.head import encode_head
from streams.core.outcome import Undone
from streams.core.undone import UndoneRange
from tests.support.fold import (
    World,
    append,
    configure,
    last_n,
    manual,
    message,
    messages,
    part,
    skip_parts,
    undo,
)
from tests.support.strategies import logs

TURNS = 2000
NUMBERS_GROW_BYTES = 64
"""msgpack writes 5,000 in more bytes than 5; that is all that a head may grow by."""

steps = st.lists(st.integers(1, 3) | st.integers(-6, -1), min_size=1, max_size=40)
"""So many messages are said; or, below 0, so many of the newest seqs are undone."""


def conversed(steps: list[int]) -> tuple[World, list[int]]:
    """A world, and the plain list of what stands in it."""
    world, standing, last_seq = World(), [], 0
    world.fold(configure())
    for step in steps:
        if step > 0:
            world.fold(append(*messages(*[1] * step)))
            standing += range(last_seq + 1, last_seq + step + 1)
            last_seq += step
        else:
            from_seq = max(1, last_seq + step + 1)
            world.fold(undo(from_seq))
            standing = [seq for seq in standing if seq < from_seq]
    return world, standing


def runs_of(seqs: list[int]) -> list[range]:
    runs: list[range] = []
    for seq in seqs:
        if runs and runs[-1].stop == seq:
            runs[-1] = range(runs[-1].start, seq + 1)
        else:
            runs.append(range(seq, seq + 1))
    return runs


@given(steps=steps, offset=st.integers(0, 40), limit=st.integers(1, 40))
def test_the_tail_is_a_plain_list_without_what_was_undone(
    steps: list[int], offset: int, limit: int
) -> None:
    world, standing = conversed(steps)
    assert world.tail() == standing
    end = max(0, len(standing) - offset)
    assert world.tail(offset=offset, limit=limit) == standing[max(0, end - limit) : end]


@given(steps=steps, first=st.integers(1, 60), many=st.integers(0, 60))
def test_any_stretch_is_what_stands_and_what_is_undone(
    steps: list[int], first: int, many: int
) -> None:
    world, standing = conversed(steps)
    ranges, last_seq = world.ranges(), world.heads["c"].last_seq
    last = min(first + many, last_seq)
    assert ranges.standing(first, last) == runs_of([s for s in standing if first <= s <= last])
    undone = runs_of([seq for seq in range(1, last_seq + 1) if seq not in standing])
    touching = [run for run in undone if run.start <= last and run.stop > first]
    found = [range(one.from_seq, one.to_seq + 1) for one in ranges.touching(first, last)]
    assert found == (touching if first <= last else [])
    for seq in range(1, last_seq + 1):
        assert ranges.undone_upto(seq) == sum(1 for s in range(1, seq + 1) if s not in standing)
        assert ranges.next_standing(seq) == min([s for s in standing if s >= seq] or [last_seq + 1])
        assert ranges.last_standing(seq) == max([s for s in standing if s <= seq] or [0])


@given(steps=steps)
def test_the_ranges_since_a_version_are_those_of_the_undos_after_it(steps: list[int]) -> None:
    world, _ = conversed(steps)
    every = list(world.ranges().touching(1, 1000))
    versions = [one.version for one in every]
    assert versions == sorted(set(versions))
    for version in range(world.heads["c"].version + 1):
        assert list(world.ranges().since(version)) == [o for o in every if o.version > version]


@given(log=logs())
def test_whoever_follows_the_facts_knows_what_stands(log: list[LogEvent]) -> None:
    world = World()
    world.take_all(*log)
    for name in world.heads:
        said, standing = 0, set()
        for who, fact in world.facts:
            match fact:
                case MessageAccepted() if who == name:
                    said += 1
                    standing.add(said)
                case UndoAccepted() if who == name:
                    gone = {seq for seq in standing if fact.from_seq <= seq <= fact.to_seq}
                    assert len(gone) == fact.undone
                    assert {fact.from_seq, fact.to_seq} <= gone
                    assert gone == {seq for seq in standing if seq >= fact.from_seq}
                    standing -= gone
        assert world.tail(name) == sorted(standing)


@given(log=logs())
def test_an_undo_takes_out_of_the_window_and_brings_nothing_back(log: list[LogEvent]) -> None:
    world = World()
    for event in log:
        before = {name: world.window(name) for name in world.heads}
        for folded in world.fold(event):
            match event.data, folded.outcome:
                case MessagesUndone(from_seq=from_seq), Undone(replayed=False):
                    (summary, live), (old_summary, old_live) = (
                        [[m for m in messages if ("seq" in m) is live] for live in (False, True)]
                        for messages in (world.window(event.subject), before[event.subject])
                    )
                    assert live == [m for m in old_live if m["seq"] < from_seq]
                    assert summary in (old_summary, [])


def test_a_form_that_the_window_alone_showed_goes_with_its_message() -> None:
    world = World()
    world.fold(configure(budget=100, policy=skip_parts("tool")))
    mixed = message(part(text="stays"), part("tool_call", "x" * 400))
    world.fold(append(mixed, mixed, message(part("tool_call", "x" * 400))))
    assert set(world.numbered("s")) == {1, 2, 3}
    world.fold(undo(2))
    assert set(world.numbered("s")) == {1}
    assert set(world.numbered("m")) == {1, 2, 3}


@given(log=logs())
def test_an_undo_that_finds_nothing_changes_no_more_than_its_answer(log: list[LogEvent]) -> None:
    world = World()
    for event in log:
        rows, heads = dict(world.rows), dict(world.heads)
        for folded in world.fold(event):
            if folded.outcome == Undone(folded.head.version if folded.head else 0, 0, 0, 0):
                assert world.rows == rows
                assert folded.facts == ()
                assert folded.head is not None
                assert folded.head.window == heads[folded.context_id].window
                assert folded.head.updated_at == heads[folded.context_id].updated_at


POLICIES: tuple[Policy, ...] = (last_n(20), skip_parts("tool", limit=20), manual())


def test_head_and_writes_do_not_grow_with_the_number_of_undos() -> None:
    """Every turn leaves a range behind; in the end one undo covers them all."""
    for policy in POLICIES:
        world = World()
        world.fold(configure(budget=1000, policy=policy))
        early = 0
        for turn in range(TURNS):
            world.fold(append(*messages(1, 1)))
            (folded,) = world.fold(undo(2 * turn + 2))
            assert folded.outcome == Undone(2 * turn + 2, 1, 2 * turn + 2, 2 * turn + 2)
            assert len(folded.writes) == 1
            assert folded.head is not None
            if turn == 50:
                early = len(encode_head(folded.head))
        head = world.heads["c"]
        assert head.undos.ranges == TURNS
        assert len(encode_head(head)) <= early + NUMBERS_GROW_BYTES
        assert world.tail(offset=TURNS - 3, limit=2) == [3, 5]
        (folded,) = world.fold(undo(4))
        assert folded.outcome == Undone(2 * TURNS + 1, TURNS - 2, 5, 2 * TURNS - 1)
        assert len(folded.writes) == 1
        assert list(world.ranges().touching(1, 2 * TURNS)) == [
            UndoneRange(2, 2, 1, 2),
            UndoneRange(4, 2 * TURNS, 2 * TURNS - 2, 2 * TURNS + 1),
        ]

"""A context has exactly the rows that something hot needs: none goes early, none stays."""

from hypothesis import given

from schemas.events import ArchiveAdvanced, LogEvent, MessageAppended
from streams.core.head import Head, Live, Summary
from streams.core.outcome import Advanced, Appended
from streams.core.rows import answer_key, answer_of, hash_of
from tests.support.fold import World
from tests.support.strategies import logs


def _live(head: Head) -> range:
    found = [s for s in head.window.segments if isinstance(s, Live)]
    return range(found[0].from_seq, found[0].to_seq + 1) if found else range(0)


def _shown(world: World, name: str) -> set[int]:
    """The seqs in the window."""
    live = _live(world.heads[name])
    runs = world.ranges(name).standing(live.start, live.stop - 1)
    return {seq for run in runs for seq in run}


@given(log=logs(closing=False))
def test_a_message_goes_when_it_is_archived_old_and_outside_the_window_and_not_before(
    log: list[LogEvent],
) -> None:
    world = World()
    for event in log:
        hot = {name: set(world.numbered("m", name)) for name in world.heads}
        for folded in world.fold(event):
            head, name = folded.head, folded.context_id
            if head is None:
                continue
            before, after = hot.get(name, set()), set(world.numbered("m", name))
            gone = before - after
            if not isinstance(event.data, ArchiveAdvanced):
                assert not gone
                continue
            keep = event.data.tail_keep
            assert all(seq <= head.archived_seq for seq in gone)
            assert all(seq <= head.last_seq - keep for seq in gone)
            assert not gone & _shown(world, name)
            if folded.outcome == Advanced():
                first_live = next(iter(_live(head)), head.last_seq + 1)
                old = range(1, min(head.archived_seq, head.last_seq - keep, first_live - 1) + 1)
                assert not after & set(old)


@given(log=logs())
def test_there_are_no_rows_that_nothing_needs_and_all_that_something_needs(
    log: list[LogEvent],
) -> None:
    world = World()
    answers: dict[tuple[str, bytes], Appended] = {}
    for event in log:
        for folded in world.fold(event):
            if isinstance(folded.outcome, Appended) and not folded.outcome.replayed:
                answers[folded.context_id, hash_of(event.id.encode())] = folded.outcome
        for name, head in world.heads.items():
            hot = set(world.numbered("m", name))
            assert hot == set(range(head.trimmed_seq + 1, head.last_seq + 1))
            assert _shown(world, name) <= hot
            assert set(world.numbered("s", name)) <= _reduced(head) & _shown(world, name)
            assert set(range(head.undos.ranges)) <= set(world.numbered("u", name))
            assert len(_replacements(world, name)) <= sum(
                s.end - s.first for s in head.window.segments if isinstance(s, Summary)
            )
            for (context, event_hash), answer in answers.items():
                row = world.get(answer_key(context.encode(), event_hash))
                if context == name:
                    assert (row is not None) == (answer.last_seq in hot)
                if row is not None:
                    assert answer_of(row).token_counts == answer.token_counts


def _reduced(head: Head) -> set[int]:
    segments = head.window.segments
    live = [s for s in segments if isinstance(s, Live)]
    return {seq for s in live for seq in range(s.from_seq, min(s.shown_to, s.to_seq) + 1)}


def _replacements(world: World, name: str) -> list[bytes]:
    return [key for key in world.rows if key.startswith(name.encode() + b"\0r")]


@given(log=logs(closing=False))
def test_messages_never_change_once_they_are_said(log: list[LogEvent]) -> None:
    world = World()
    said: dict[tuple[str, int], bytes] = {}
    for event in log:
        world.fold(event)
        for name in world.heads:
            for seq, row in world.numbered("m", name).items():
                assert said.setdefault((name, seq), row) == row


@given(log=logs())
def test_an_append_writes_its_messages_its_answer_and_what_the_policy_touched_once(
    log: list[LogEvent],
) -> None:
    """Over all of a log, a message costs a bounded number of row writes."""
    world = World()
    for event in log:
        for folded in world.fold(event):
            if not isinstance(event.data, MessageAppended) or not folded.changed:
                continue
            name = folded.context_id.encode()
            own = [k for k in folded.writes if k.startswith((name + b"\0m", name + b"\0k"))]
            assert len(own) == len(event.data.messages) + 1
            assert all(folded.writes[k] is not None for k in own)

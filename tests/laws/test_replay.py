"""State is a function of the log: however it is folded, it comes out the same, byte for byte."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode_event, encode_event
from schemas.events import ArchiveAdvanced, LogEvent
from streams.core.outcome import Stale
from tests.support.fold import World
from tests.support.strategies import logs


def _live(log: list[LogEvent]) -> World:
    world = World()
    world.take_all(*log)
    return world


@given(log=logs(), data=st.data())
def test_a_fold_that_starts_again_from_its_rows_at_any_point_comes_out_the_same(
    log: list[LogEvent], data: st.DataObject
) -> None:
    world, facts = World(), []
    for event in log:
        world.fold(event)
        if data.draw(st.booleans(), label="starts again"):
            facts += world.facts
            world = world.reread()
    facts += world.facts
    live = _live(log)
    assert world.encoded() == live.encoded()
    assert world.heads == live.heads
    assert facts == live.facts


@given(log=logs())
def test_a_replay_of_the_records_comes_out_as_the_events_did(log: list[LogEvent]) -> None:
    replayed = World()
    for event in log:
        replayed.fold(decode_event(event.subject.encode(), encode_event(event)))
    live = _live(log)
    assert replayed.encoded() == live.encoded()
    assert replayed.facts == live.facts


@given(log=logs(), data=st.data())
def test_what_is_delivered_again_changes_nothing(log: list[LogEvent], data: st.DataObject) -> None:
    world = World()
    changed_at: dict[str, int] = {}
    for offset, event in enumerate(log):
        for folded in world.fold(event):
            if folded.changed:
                changed_at[folded.context_id] = offset
        before = world.encoded()
        again = data.draw(st.integers(0, offset), label="delivered again")
        for folded in world.fold(log[again], offset=again):
            assert not folded.changed
            assert not folded.writes
            if again <= changed_at.get(folded.context_id, -1):
                assert folded.outcome == Stale()
                assert folded.facts == ()
        assert world.encoded() == before


@given(log=logs())
def test_contexts_have_nothing_to_do_with_each_other(log: list[LogEvent]) -> None:
    """So a log can be folded by partition, on as many nodes as there are."""
    both = _live(log)
    for name, head in both.heads.items():
        alone = World()
        for offset, event in enumerate(log):
            if event.subject == name or isinstance(event.data, ArchiveAdvanced):
                alone.fold(event, offset=offset)
        prefix = name.encode() + b"\0"
        assert alone.heads == {name: head}
        assert alone.rows == {k: v for k, v in both.rows.items() if k.startswith(prefix)}

"""The same key gets the first answer again; with another body it is refused."""

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.events import ArchiveAdvanced, LogEvent, MessageAppended
from streams.core.outcome import Appended, Compacted, Configured, Patched, Refused, Undone
from tests.support.fold import World, append, event, messages, undo
from tests.support.strategies import events, logs


@given(log=logs(), between=st.lists(events(), max_size=5), data=st.data())
def test_a_retry_of_an_append_gets_the_first_answer_while_its_message_is_hot(
    log: list[LogEvent], between: list[LogEvent], data: st.DataObject
) -> None:
    world = World()
    answered = [(e, world.fold(e)[0].outcome) for e in log if not _is_watermark(e)]
    accepted = [(e, o) for e, o in answered if isinstance(o, Appended) and not o.replayed]
    assume(accepted)
    first, answer = data.draw(st.sampled_from(accepted))
    world.take_all(*between)
    hot = answer.last_seq in world.numbered("m", first.subject)
    before = world.encoded()
    again = world.fold(first)[0].outcome
    if hot:
        assert again == replace(answer, replayed=True)
        assert world.encoded() == before
    else:
        assert not isinstance(again, Appended) or not again.replayed


@given(log=logs(max_size=10), last=events())
def test_a_retry_of_anything_right_away_gets_the_first_answer(
    log: list[LogEvent], last: LogEvent
) -> None:
    assume(not _is_watermark(last))
    world = World()
    world.take_all(*log)
    first = world.fold(last)[0]
    before = world.encoded()
    again = world.fold(last)[0]
    assert world.encoded() == before
    assert not again.facts or isinstance(first.outcome, Refused)
    match first.outcome:
        case Appended() | Compacted() | Undone() | Configured() | Patched():
            assert again.outcome == replace(first.outcome, replayed=True)
        case _:
            assert again.outcome == first.outcome


@given(log=logs(max_size=10), last=events(), other=events())
def test_a_key_with_another_body_is_refused(
    log: list[LogEvent], last: LogEvent, other: LogEvent
) -> None:
    world = World()
    world.take_all(*log)
    if _is_watermark(last) or isinstance(other.data, ArchiveAdvanced):
        return
    first = world.fold(last)[0].outcome
    assume(isinstance(first, Appended | Compacted | Undone | Configured | Patched))
    assume(_body(other) != _body(last) and type(other.data).__name__ != "ContextTombstoned")
    before = world.encoded()
    outcome = world.fold(event(other.data, last.subject, last.id))[0].outcome
    assert isinstance(outcome, Refused)
    assert outcome.code == "idempotency_key_reused"
    assert world.encoded() == before


def test_an_append_that_was_undone_is_known_still() -> None:
    world = World()
    first = world.take(append(*messages(1, 2), key="said"))
    world.fold(undo(1))
    assert world.take(append(*messages(1, 2), key="said")) == replace(first, replayed=True)
    assert world.tail() == []


def test_an_undo_that_is_asked_again_takes_nothing_that_was_said_since() -> None:
    world = World()
    world.fold(append(*messages(1)))
    for key, undone in (("one", 1), ("none", 0)):
        first = world.take(undo(1, key=key))
        assert isinstance(first, Undone)
        assert first.undone == undone
        world.fold(append(*messages(2)))
        assert world.take(undo(1, key=key)) == replace(first, replayed=True)
        assert world.tail() == [world.heads["c"].last_seq]
        world.fold(undo(1))


def _body(e: LogEvent) -> object:
    """What a client says; who counted, and whether a context may be made, is not of the body."""
    if isinstance(e.data, MessageAppended):
        return (e.data.messages, e.data.if_version)
    return e.data


def _is_watermark(e: LogEvent) -> bool:
    return isinstance(e.data, ArchiveAdvanced)

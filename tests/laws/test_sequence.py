"""`seq` runs 1, 2, 3 … without holes; `version` goes up by one a change; nothing else moves it."""

import json

from hypothesis import given

from schemas.events import LogEvent, MessageAppended
from schemas.facts import MessageAccepted
from streams.core.outcome import Appended, Compacted, Undone
from tests.support.fold import World
from tests.support.strategies import logs


@given(log=logs())
def test_seq_and_version_move_with_accepted_appends_compactions_and_undos_only(
    log: list[LogEvent],
) -> None:
    world = World()
    for event in log:
        before = {name: (head.version, head.last_seq) for name, head in world.heads.items()}
        for folded in world.fold(event):
            version, last_seq = before.get(folded.context_id, (0, 0))
            match folded.outcome:
                case Appended(replayed=False) as answer:
                    assert isinstance(event.data, MessageAppended)
                    said = len(event.data.messages)
                    assert (answer.first_seq, answer.last_seq) == (last_seq + 1, last_seq + said)
                    assert len(answer.token_counts) == said
                    last_seq += said
                    version += 1
                    assert answer.version == version
                case Compacted(replayed=False) as answer:
                    version += 1
                    assert answer.version == version
                case Undone(replayed=False) as answer:
                    version += answer.undone > 0
                    assert answer.version == version
            if folded.head is not None:
                assert (folded.head.version, folded.head.last_seq) == (version, last_seq)


@given(log=logs())
def test_every_seq_is_accepted_once_and_in_order(log: list[LogEvent]) -> None:
    world = World()
    world.take_all(*log)
    accepted: dict[str, list[int]] = {name: [] for name in world.heads}
    versions: dict[str, list[int]] = {name: [] for name in world.heads}
    for name, fact in world.facts:
        if isinstance(fact, MessageAccepted):
            said = json.loads(bytes(fact.message))
            accepted[name].append(said["seq"])
            versions[name].append(said["version"])
    for name, head in world.heads.items():
        assert accepted[name] == list(range(1, head.last_seq + 1))
        assert versions[name] == sorted(versions[name])


@given(log=logs())
def test_an_event_that_is_refused_leaves_no_trace_but_a_fact(log: list[LogEvent]) -> None:
    world = World()
    for event in log:
        before = world.encoded()
        results = world.fold(event)
        if not any(folded.changed for folded in results):
            assert world.encoded() == before
            assert not any(folded.writes for folded in results)

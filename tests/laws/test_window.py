"""The window is what API.md says, whatever happens to a conversation, and it adds up."""

import json
from typing import Any

import msgspec
from hypothesis import given, note, settings
from hypothesis import strategies as st
from msgspec import Raw

from schemas.events import (
    ContextConfigured,
    EventData,
    LogEvent,
    MessageAppended,
    MessagesUndone,
    WindowCompacted,
)
from schemas.facts import WindowChanged
from schemas.policy import Manual, SkipParts
from streams.core.view import segment_json
from streams.core.window import Shown
from tests.laws.oracle import Entry, PlainWindow
from tests.support import strategies
from tests.support.fold import World, archived, event
from tests.support.strategies import logs

conversation_data: st.SearchStrategy[EventData] = st.one_of(
    *[st.builds(MessageAppended, strategies.message_tuples)] * 4,
    st.builds(WindowCompacted, st.lists(strategies.messages, max_size=3).map(tuple)),
    st.builds(MessagesUndone, st.integers(1, 30)),
    strategies.configured,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[EventData]:
    """Events of one context, none of which is refused. The first one sets a small budget."""
    start = ContextConfigured(
        draw(strategies.budgets), draw(strategies.ratios), draw(strategies.policies)
    )
    return [start, *draw(st.lists(conversation_data, max_size=20))]


@st.composite
def undoing_conversations(draw: st.DrawFn) -> list[EventData]:
    """The same, in windows with room for some messages, where many are taken back: gaps between
    those that stand come into the window, grow, and leave it."""
    conversation: list[EventData] = [
        ContextConfigured(draw(st.integers(60, 300)), 1.0, draw(strategies.policies))
    ]
    last_seq = 0
    for kind in draw(st.lists(st.sampled_from("aaaauuuucp"), min_size=8, max_size=25)):
        match kind:
            case "a":
                conversation.append(MessageAppended(draw(strategies.message_tuples)))
                last_seq += len(conversation[-1].messages)
            case "u":
                conversation.append(draw(strategies.few_undone(last_seq)))
            case "c":
                conversation.append(WindowCompacted(draw(strategies.message_tuples)))
            case "p":
                conversation.append(ContextConfigured(policy=draw(strategies.policies)))
    return conversation


@settings(max_examples=300)
@given(conversation=conversations() | undoing_conversations(), data=st.data())
def test_the_window_is_what_a_plain_list_of_messages_would_be(
    conversation: list[EventData], data: st.DataObject
) -> None:
    world, plain = World(), PlainWindow()
    skipped = False
    for number, said in enumerate(conversation):
        note(str(said))
        world.fold(event(said, key=f"own-{number}"))
        plain.take(said)
        skipped = skipped or isinstance(plain.policy, SkipParts)
        head = world.heads["c"]
        assert head.needs_compaction == plain.needs_compaction
        assert head.window.used_tokens == plain.tokens
        assert head.window.entries == len(plain.entries)
        _same(world.show(), plain, plain.entries, skipped)
        budget = data.draw(strategies.budgets)
        _same(world.show(budget=budget), plain, plain.within(budget), skipped)


def _same(shown: Shown, plain: PlainWindow, entries: list[Entry], skipped: bool) -> None:
    assert [_entry(m) for m in shown.messages] == entries
    assert shown.used_tokens == sum(entry.tokens for entry in entries)
    segments = [tuple(segment_json(s).values()) for s in shown.segments]
    expected = plain.segments(entries)
    if not skipped:
        assert segments == expected
        return
    # A message of which no part is left may lie in a live segment without being shown.
    assert [kind for kind, *_ in segments] == [kind for kind, *_ in expected]
    for (kind, start, end), (_, first, last) in zip(segments, expected, strict=True):
        if kind == "live":
            assert start <= first <= last <= end


def _entry(body: bytes) -> Entry:
    fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Raw])
    parts = [bytes(part) for part in msgspec.json.decode(fields["parts"], type=list[Raw])]
    seq = None if "seq" not in fields else int(bytes(fields["seq"]))
    return Entry(seq, parts, int(bytes(fields["token_count"])))


@given(log=logs(), budget=strategies.budgets)
def test_the_bound_holds_for_whatever_is_served(log: list[LogEvent], budget: int) -> None:
    world = World()
    for said in log:
        for folded in world.fold(said):
            head = folded.head
            if head is None:
                continue
            budgets = [budget]
            if not isinstance(head.policy, Manual):
                budgets.append(head.token_budget)
            for most in budgets:
                shown = world.show(folded.context_id, most)
                alone = len(shown.messages) == 1 and shown.over_budget
                assert shown.used_tokens <= most or alone
                assert not shown.over_budget or alone


@given(log=logs())
def test_the_head_adds_up_to_what_its_rows_show(log: list[LogEvent]) -> None:
    world = World()
    for said in log:
        for folded in world.fold(said):
            if folded.head is None:
                continue
            window, shown = folded.head.window, world.show(folded.context_id)
            counts = [json.loads(m)["token_count"] for m in shown.messages]
            assert window.entries == len(counts)
            assert window.used_tokens == shown.used_tokens == sum(counts)
            assert not shown.over_budget
            assert (not shown.segments) == (not shown.messages)


@given(log=logs())
def test_a_policy_that_ran_leaves_the_window_within_its_budget(log: list[LogEvent]) -> None:
    world = World()
    for said in log:
        for folded in world.fold(said):
            ran = folded.changed and isinstance(said.data, MessageAppended)
            if folded.head is None or not ran or isinstance(folded.head.policy, Manual):
                continue
            window = folded.head.window
            assert window.used_tokens <= folded.head.token_budget or window.entries == 1


@given(log=logs())
def test_whoever_follows_the_facts_knows_the_window(log: list[LogEvent]) -> None:
    """A window that was not announced anew has grown by the messages accepted, and only so."""
    world = World()
    for said in log:
        before = {name: head.window for name, head in world.heads.items()}
        for folded in world.fold(said):
            told = [fact for fact in folded.facts if isinstance(fact, WindowChanged)]
            head = folded.head
            if head is None or not folded.changed:
                assert not told
                continue
            if told:
                (fact,) = told
                assert fact.version == head.version
                assert fact.used_tokens == head.window.used_tokens
                assert fact.needs_compaction == head.needs_compaction
                assert fact.segments == tuple(segment_json(s) for s in head.window.segments)
            elif isinstance(said.data, MessageAppended):
                old = before.get(folded.context_id)
                grown = head.window.entries - (0 if old is None else old.entries)
                assert grown == len(said.data.messages)
            else:
                assert head.window == before.get(folded.context_id, type(head.window)())


@given(log=logs(), tail_keep=st.integers(0, 3))
def test_trimming_leaves_the_window_alone(log: list[LogEvent], tail_keep: int) -> None:
    world = World()
    for said in log:
        world.fold(said)
        before = {name: world.show(name) for name in world.heads}
        upto = {name: head.last_seq for name, head in world.heads.items()}
        world.fold(archived(upto, tail_keep))
        assert {name: world.show(name) for name in world.heads} == before

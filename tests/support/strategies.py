"""Hypothesis strategies: JSON as people send it, messages, policies, and whole logs of events."""

from collections import Counter
from typing import Any

import msgspec
from hypothesis import note
from hypothesis import strategies as st
from msgspec import Raw

from schemas.codec import encode_event
from schemas.events import (
    NULL,
    ArchiveAdvanced,
    ContextConfigured,
    ContextTombstoned,
    Counted,
    EventData,
    LogEvent,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    WindowCompacted,
)
from schemas.policy import Policy
from streams.core.tokens import rule_name
from tests.support.fold import event, last_n, manual, skip_parts

CONTEXTS = ("a", "ü ?%")
KEYS = tuple(f"key-{n}" for n in range(6))
KINDS = ("text", "text", "tool_call", "tool.result", "reasoning", "image_url", "x")

# -- JSON, as text, so that numbers and escapes are what they are ----------------------------------

NUMBERS = ("0", "-0", "1.0", "1e999", "-1E-7", "123456789012345678901234567890", "0.1000")
STRINGS = ('""', '"a"', '"\\u0061"', '"\\/"', '"\\u0000"', '"é🙂"', '"\\ud83d\\ude42"', '"[{"')
scalars = st.sampled_from((*NUMBERS, *STRINGS, "null", "true", "false"))
names = st.sampled_from((*STRINGS, '"b"', '"type"', '"null"'))


def _containers(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(names, children).map(":".join)
    return st.one_of(
        st.lists(children, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(pairs, max_size=3).map(lambda items: f"{{{','.join(items)}}}"),
    )


json_texts = st.recursive(scalars, _containers, max_leaves=6)

# -- messages --------------------------------------------------------------------------------------

# Drawn from few, and not built piece by piece: a log has a hundred parts, and has to be quick.
TEXTS = ("", "hi", "what is it?", "word " * 9, "\\u0061\\n")
VALUES = ("1e999", "-0", '"[{"', '{"a":null,"a":[1.0]}', "123456789012345678901234567890", "[]")
_rests = (*(f'"text":"{text}"' for text in TEXTS), *(f'"value":{value}' for value in VALUES))

parts = st.builds('{{"type":"{}",{}}}'.format, st.sampled_from(KINDS), st.sampled_from(_rests))
part_lists = st.lists(parts, min_size=1, max_size=3).map(
    lambda items: Raw(f"[{','.join(items)}]".encode())
)
metadata = st.sampled_from(
    [Raw(b"{}")] * 3 + [Raw(f'{{"a":{value},"b":null}}'.encode()) for value in VALUES]
)
messages = st.builds(
    Message,
    role=st.sampled_from(("user", "assistant", "tool")),
    parts=part_lists,
    token_count=st.none() | st.integers(0, 40),
    metadata=metadata,
    id=st.sampled_from((None, "", "m1")),
)
message_tuples = st.lists(messages, min_size=1, max_size=3).map(tuple)


# -- policies and events ---------------------------------------------------------------------------

limits = st.integers(1, 5)
kind_sets = st.sampled_from((("tool",), ("tool", "image"), ("text",), ("t", "r", "i", "x"), ("x",)))
policies: st.SearchStrategy[Policy] = st.one_of(
    limits.map(last_n),
    st.builds(lambda kinds, limit: skip_parts(*kinds, limit=limit), kind_sets, limits | st.none()),
    st.just(skip_parts()),
    st.just(manual()),
)
budgets = st.integers(1, 120)
ratios = st.sampled_from((1.0, 0.7, 0.5, 0.01))
versions = st.one_of(st.none(), st.none(), st.integers(0, 6))
configured = st.builds(
    ContextConfigured,
    token_budget=st.none() | budgets,
    trigger_ratio=st.none() | ratios,
    policy=st.none() | policies,
    encoding=st.sampled_from((None, "cl100k_base", "approximate")),
    metadata=st.just(NULL) | metadata,
)


@st.composite
def appended(draw: st.DrawFn) -> MessageAppended:
    """An append, now and then with counts made before the fold, right or useless."""
    said = draw(message_tuples)
    rules = st.sampled_from((rule_name("o200k_base"), "another/1"))
    counts = st.lists(st.integers(0, 40), min_size=1, max_size=4).map(tuple)
    counted = draw(st.none() | st.builds(Counted, rules, counts))
    create = draw(st.sampled_from((True, True, False)))
    return MessageAppended(said, draw(versions), create, counted)


compacted = st.builds(
    WindowCompacted,
    replacement=st.lists(messages, max_size=3).map(tuple),
    if_version=versions,
    counted=st.none(),
)
undone = st.builds(MessagesUndone, from_seq=st.integers(1, 20), if_version=versions)


def few_undone(last_seq: int) -> st.SearchStrategy[MessagesUndone]:
    """The newest few messages are."""
    return st.integers(0, 4).map(lambda back: MessagesUndone(max(1, last_seq - back)))


@st.composite
def said_otherwise(draw: st.DrawFn, last_seq: int) -> list[EventData]:
    """Something is said, the newest few messages are taken back, and something else is said."""
    first, other = (MessageAppended(draw(message_tuples)) for _ in range(2))
    return [first, draw(few_undone(last_seq + len(first.messages))), other]


watermarks = st.builds(
    ArchiveAdvanced,
    watermarks=st.lists(st.tuples(st.sampled_from(CONTEXTS), st.integers(0, 20)), max_size=2).map(
        tuple
    ),
    tail_keep=st.integers(0, 4),
)


def event_data(*, closing: bool = True) -> st.SearchStrategy[EventData]:
    """What an event says. Appends are the most common; `closing`: tombstones too."""
    appends = [appended(), appended(), appended()]
    common: list[st.SearchStrategy[Any]] = [*appends, compacted, undone, undone]
    rare: list[st.SearchStrategy[Any]] = [
        configured,
        st.builds(MetadataPatched, metadata),
        watermarks,
    ]
    if closing:
        rare.append(st.sampled_from((ContextTombstoned(), MetadataPatched(Raw(b"{}")))))
    return st.one_of(*common, *rare)


def events(*, closing: bool = True) -> st.SearchStrategy[LogEvent]:
    """One event: of few contexts and few keys, so that they meet."""
    return st.builds(
        event, event_data(closing=closing), st.sampled_from(CONTEXTS), st.sampled_from(KEYS)
    )


@st.composite
def logs(draw: st.DrawFn, max_size: int = 25, *, closing: bool = True) -> list[LogEvent]:
    """A log. Now and then an event of it is sent once more, as a client does after a time-out, or
    a key is used for something else. Often what was just said is taken back and said otherwise."""
    log: list[LogEvent] = []
    said: Counter[str] = Counter()
    for n in range(draw(st.integers(1, max_size))):
        if log and draw(st.integers(0, 7)) == 0:
            log.append(draw(st.sampled_from(log)))
            continue
        key = draw(st.sampled_from((f"own-{n}", f"own-{n}", *KEYS)))
        context, turn = draw(st.sampled_from(CONTEXTS)), [draw(event_data(closing=closing))]
        if isinstance(turn[0], MessagesUndone) and draw(st.integers(0, 2)):
            turn = draw(said_otherwise(said[context]))
        for number, data in enumerate(turn):
            if isinstance(data, MessageAppended):
                said[context] += len(data.messages)
            log.append(event(data, context, f"{key}-{number}" if number else key))
            note(encode_event(log[-1]).decode())
    return log


@st.composite
def undoing_logs(draw: st.DrawFn) -> list[LogEvent]:
    """A log of one context, in which something is taken back all the time; the archive follows."""
    log: list[LogEvent] = [event(draw(configured), CONTEXTS[0], "own")]
    last_seq = 0
    for n in range(draw(st.integers(2, 8))):
        turn = draw(said_otherwise(last_seq))
        last_seq += sum(len(data.messages) for data in turn if isinstance(data, MessageAppended))
        if draw(st.integers(0, 3)) == 0:
            upto = draw(st.integers(0, last_seq))
            turn.append(ArchiveAdvanced(((CONTEXTS[0], upto),), draw(st.integers(0, 6))))
        log += [event(data, CONTEXTS[0], f"own-{n}-{i}") for i, data in enumerate(turn)]
    return log


# -- records that may be anything ------------------------------------------------------------------

_STRANGE = (
    *("null", "true", "-1", "0", "1.5", "1e999", "9" * 30, '""', '"x"', "[]", "{}", "[[]]"),
    *('"\\u0000position"', '"\\ud800"', '"a/b"', '"message.appended.v1"', '"archive.advanced.v1"'),
    '{"type":"text"}',
    '[{"type":"text","text":1}]',
    '{"strategy":"last_n","config":{"limit":0}}',
)


@st.composite
def mutated_records(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Key and value of a record that was an event before a few things in it were changed."""
    source = draw(events())
    value = encode_event(source)
    for _ in range(draw(st.integers(0, 3))):
        value = draw(_mutations(value))
    return draw(st.sampled_from((source.subject.encode(), b"a", b"", b"\xff"))), value


def _mutations(value: bytes) -> st.SearchStrategy[bytes]:
    """The same text with one value, one stretch or one byte of it exchanged."""
    tokens = _token_ends(value)
    return st.one_of(
        st.builds(
            lambda span, new: value[: span[0]] + new.encode() + value[span[1] :],
            st.sampled_from(tokens),
            st.sampled_from(_STRANGE) | json_texts,
        ),
        st.builds(
            lambda at, size: value[:at] + value[at + size :],
            st.integers(0, len(value)),
            st.integers(0, 5),
        ),
        st.builds(
            lambda at, new: value[:at] + new + value[at + 1 :],
            st.integers(0, len(value)),
            st.binary(max_size=3),
        ),
    )


def _token_ends(value: bytes) -> list[tuple[int, int]]:
    """Where each JSON value lies in a text that is JSON; the whole text where it is not."""
    try:
        tree = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [(0, len(value))]
    spans = [(0, len(value))]
    for child in _children(tree):
        text = msgspec.json.encode(child)
        at = value.find(text)
        if at >= 0:
            spans.append((at, at + len(text)))
    return spans


def _children(tree: object) -> list[object]:
    own = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    found = list(own)
    for child in tuple(found):
        found.extend(_children(child))
    return found

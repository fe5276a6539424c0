"""The policies: what happens to a window whose tokens exceed the trigger. Window in, window out.

A policy never adds tokens, and with `last_n` and `skip_parts` the window is within its budget
afterwards, or holds one message alone.
"""

from collections.abc import Callable
from itertools import chain
from typing import assert_never

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from schemas.policy import LastN, Manual, SkipParts
from streams.core.head import Head, Live, Segment, Summary, Window
from streams.core.rows import (
    LEFT_OUT,
    Draft,
    MessageJson,
    message_of,
    replacement_key,
    shown_key,
    shown_row,
    tokens_of,
)
from streams.core.tokens import Measure, count_message
from streams.core.undone import Ranges
from streams.core.window import live_row, without_empty_places, without_oldest

Measures = Callable[[str], Measure]
"""From the name of an encoding to its measure."""


class _PartType(Struct):
    type: str


_raw_parts = msgspec.json.Decoder(list[Raw])
_part_types = msgspec.json.Decoder(list[_PartType])


def checked(head: Head, context: bytes, draft: Draft, measures: Measures) -> Window:
    """The head's window after its check: the policy has run where the trigger was exceeded."""
    window = head.window
    if not head.needs_compaction:
        return window
    ranges = Ranges(head.undos.ranges, context, draft.get_many)
    match head.policy:
        case Manual():
            return window
        case LastN(config=config):
            return _last_n(window, config.limit, head.token_budget, context, draft, ranges)
        case SkipParts(config=config):
            measure = measures(head.encoding)
            window = _skip_parts(window, config.skip_kinds, context, draft, ranges, measure)
            window = _last_n(window, config.limit, head.token_budget, context, draft, ranges)
            return without_empty_places(window, context, draft, ranges)
        case _:
            assert_never(head.policy)


def _last_n(
    window: Window, limit: int | None, budget: int, context: bytes, draft: Draft, ranges: Ranges
) -> Window:
    """Keep the latest `limit` messages, then drop the oldest until the budget holds."""
    while limit is not None and window.entries > limit:
        window = without_oldest(window, context, draft, ranges)
    while window.used_tokens > budget and window.entries > 1:
        window = without_oldest(window, context, draft, ranges)
    return window


def _skip_parts(
    window: Window,
    kinds: tuple[str, ...],
    context: bytes,
    draft: Draft,
    ranges: Ranges,
    measure: Measure,
) -> Window:
    """Drop the parts of these kinds from every message that has not been through it before."""
    for at, segment in enumerate(window.segments):
        skipped: Segment
        match segment:
            case Summary():
                before = _skip_in_summary(segment, kinds, context, draft, measure)
                skipped = replace(segment, kinds=kinds)
            case Live():
                before = _skip_in_live(segment, kinds, context, draft, ranges, measure)
                skipped = replace(segment, kinds=kinds, shown_to=segment.to_seq)
            case _:
                assert_never(segment)
        segments = (*window.segments[:at], skipped, *window.segments[at + 1 :])
        entries, tokens = before
        window = Window(segments, window.entries - entries, window.used_tokens - tokens)
    return window


def _skip_in_summary(
    summary: Summary, kinds: tuple[str, ...], context: bytes, draft: Draft, measure: Measure
) -> tuple[int, int]:
    """Rewrite replacement messages in place; the entries and tokens that went."""
    entries = tokens = 0
    if summary.kinds == kinds:
        return entries, tokens
    for index in range(summary.first, summary.end):
        key = replacement_key(context, summary.version, index)
        row = draft.get(key)
        less = None if row is None else _without_parts(row, kinds, measure)
        if row is None or less is None:
            continue
        tokens += tokens_of(row) - tokens_of(less)
        if less == LEFT_OUT:
            entries += 1
            draft.delete(key)
        else:
            draft.put(key, less)
    return entries, tokens


def _skip_in_live(
    live: Live,
    kinds: tuple[str, ...],
    context: bytes,
    draft: Draft,
    ranges: Ranges,
    measure: Measure,
) -> tuple[int, int]:
    """Write shown forms of the messages that lose parts; the entries and tokens that went."""
    entries = tokens = 0
    start = max(live.from_seq, live.shown_to + 1) if live.kinds == kinds else live.from_seq
    for seq in chain.from_iterable(ranges.standing(start, live.to_seq)):
        row = live_row(live, context, seq, draft)
        if row is None or row == LEFT_OUT:
            continue
        less = _without_parts(row, kinds, measure)
        if less is None:
            continue
        tokens += tokens_of(row) - tokens_of(less)
        entries += less == LEFT_OUT
        draft.put(shown_key(context, seq), less)
    return entries, tokens


def _without_parts(row: bytes, kinds: tuple[str, ...], measure: Measure) -> bytes | None:
    """The row without parts of these kinds, or None where it has no such part.

    What is left is counted anew, and never counts more than it did: the sender's own count may
    have been smaller than ours.
    """
    message = message_of(row)
    types = [part.type for part in _part_types.decode(message.parts)]
    if not any(kind.startswith(kinds) for kind in types):
        return None
    raw_parts = _raw_parts.decode(message.parts)
    parts = [
        bytes(raw) for raw, kind in zip(raw_parts, types, strict=True) if not kind.startswith(kinds)
    ]
    if not parts:
        return LEFT_OUT
    count = min(count_message(measure, parts), tokens_of(row))
    less: MessageJson = replace(message, parts=Raw(b"[%b]" % b",".join(parts)), token_count=count)
    return shown_row(less)

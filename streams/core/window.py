"""The window: what is in it, how it grows, how its oldest message leaves, and how it is shown.

Messages are never copied into the window: it names them by seq, and the rows of the tail hold them.
A live segment begins and ends with a message that stands; those between that are undone are not in
the window. What is undone, a `Ranges` says.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from streams.core.head import Head, Live, Segment, Summary, Window
from streams.core.rows import (
    LEFT_OUT,
    Draft,
    GetMany,
    GetMessages,
    json_of,
    message_key,
    replacement_key,
    shown_key,
    tokens_of,
)
from streams.core.undone import Ranges


def appended(window: Window, first_seq: int, last_seq: int, tokens: int) -> Window:
    """The window with the messages `first_seq` to `last_seq` at its end."""
    segments = window.segments
    if segments and isinstance(live := segments[-1], Live):
        segments = (*segments[:-1], replace(live, to_seq=last_seq))
    else:
        segments = (*segments, Live(first_seq, last_seq))
    return Window(segments, window.entries + last_seq - first_seq + 1, window.used_tokens + tokens)


def compacted(window: Window, version: int, tokens: Sequence[int], last_seq: int) -> Window:
    """The window that holds the replacement messages of `version` and nothing else.

    They stand for all that the old window stood for; where it was empty, for the newest message.
    """
    if not tokens:
        return Window()
    from_seq = window.segments[0].from_seq if window.segments else last_seq
    summary = Summary(version, 0, len(tokens), from_seq, last_seq)
    return Window((summary,), len(tokens), sum(tokens))


def first_live_seq(window: Window) -> int | None:
    """The oldest message whose row the window still needs."""
    return next((s.from_seq for s in window.segments if isinstance(s, Live)), None)


def undone(window: Window, first: int, context: bytes, draft: Draft, ranges: Ranges) -> Window:
    """The window when no message from `first` on stands any more, which itself stood till now, as
    `ranges` say.

    A summary goes with the last message that it stands for. What had left the window stays away.
    """
    segments: list[Segment] = []
    entries = tokens = 0
    for segment in window.segments:
        left = _without_undone(segment, first, ranges)
        if left is not None:
            segments.append(left)
        for row in _leaving(segment, left, first, context, draft, ranges):
            if row is not None and row != LEFT_OUT:
                entries += 1
                tokens += tokens_of(row)
    return Window(tuple(segments), window.entries - entries, window.used_tokens - tokens)


def _without_undone(segment: Segment, first: int, ranges: Ranges) -> Segment | None:
    match segment:
        case Summary():
            # A summary that was made before anything was said begins at 0.
            oldest = ranges.next_standing(max(1, segment.from_seq))
            return None if first <= oldest <= segment.to_seq else segment
        case Live():
            if segment.from_seq >= first:
                return None
            return replace(segment, to_seq=min(segment.to_seq, ranges.last_standing(first - 1)))
        case _:
            assert_never(segment)


def _leaving(
    segment: Segment,
    left: Segment | None,
    first: int,
    context: bytes,
    draft: Draft,
    ranges: Ranges,
) -> Iterator[bytes | None]:
    """The rows that the window shows no more. Those that only it needed are deleted."""
    match segment:
        case Summary():
            for index in range(segment.first, segment.end) if left is None else ():
                key = replacement_key(context, segment.version, index)
                yield draft.get(key)
                draft.delete(key)
        case Live():
            for seq in _seqs(ranges, max(first, segment.from_seq), segment.to_seq):
                yield live_row(segment, context, seq, draft)
                if seq <= segment.shown_to:
                    draft.delete(shown_key(context, seq))
        case _:
            assert_never(segment)


def delete_own_rows(window: Window, context: bytes, draft: Draft, ranges: Ranges) -> None:
    """Take away the rows that exist for the window's sake: replacements and shown forms."""
    for segment in window.segments:
        match segment:
            case Summary():
                for index in range(segment.first, segment.end):
                    draft.delete(replacement_key(context, segment.version, index))
            case Live():
                last = min(segment.shown_to, segment.to_seq)
                for seq in _seqs(ranges, segment.from_seq, last):
                    draft.delete(shown_key(context, seq))
            case _:
                assert_never(segment)


def without_oldest(window: Window, context: bytes, draft: Draft, ranges: Ranges) -> Window:
    """The window without its oldest place. The rows that only the window needed go with it."""
    oldest, rest = window.segments[0], window.segments[1:]
    match oldest:
        case Summary():
            key = replacement_key(context, oldest.version, oldest.first)
            row = draft.get(key)
            draft.delete(key)
            shorter: Segment = replace(oldest, first=oldest.first + 1)
            empty = oldest.first + 1 >= oldest.end
        case Live():
            row = live_row(oldest, context, oldest.from_seq, draft)
            if oldest.from_seq <= oldest.shown_to:
                draft.delete(shown_key(context, oldest.from_seq))
            shorter = replace(oldest, from_seq=ranges.next_standing(oldest.from_seq + 1))
            empty = oldest.from_seq >= oldest.to_seq
        case _:
            assert_never(oldest)
    segments = rest if empty else (shorter, *rest)
    if row is None or row == LEFT_OUT:
        return Window(segments, window.entries, window.used_tokens)
    return Window(segments, window.entries - 1, window.used_tokens - tokens_of(row))


def without_empty_places(window: Window, context: bytes, draft: Draft, ranges: Ranges) -> Window:
    """The window without the places at its old end that show nothing: they would keep rows hot,
    and be read with every window, for nobody."""
    while window.segments and _oldest_row(window, context, draft) in (None, LEFT_OUT):
        window = without_oldest(window, context, draft, ranges)
    return window


def _oldest_row(window: Window, context: bytes, draft: Draft) -> bytes | None:
    oldest = window.segments[0]
    if isinstance(oldest, Summary):
        return draft.get(replacement_key(context, oldest.version, oldest.first))
    return live_row(oldest, context, oldest.from_seq, draft)


def live_row(live: Live, context: bytes, seq: int, draft: Draft) -> bytes | None:
    """The row that stands in the window for a seq: its shown form where there is one."""
    shown = draft.get(shown_key(context, seq)) if seq <= live.shown_to else None
    return draft.get(message_key(context, seq)) if shown is None else shown


def _seqs(ranges: Ranges, first: int, last: int) -> Iterator[int]:
    """The seqs from `first` to `last` that stand."""
    return chain.from_iterable(ranges.standing(first, last))


class Shown(Struct, frozen=True):
    """A window as it is served: the messages' JSON, oldest first, and what they count together."""

    messages: tuple[bytes, ...]
    used_tokens: int
    segments: tuple[Segment, ...]
    over_budget: bool


def show(
    head: Head,
    context: bytes,
    get_many: GetMany,
    budget: int | None,
    get_messages: GetMessages | None = None,
) -> Shown:
    """Serve a window within a budget, in tokens: the oldest messages are left out until it fits.

    The newest message is always served; `over_budget` says that it alone is too large. No budget
    (None) leaves nothing out. `get_many` reads rows of the tail, in the order of their keys;
    `get_messages` reads those of messages, where somebody knows them already.
    """
    if get_messages is None:
        get_messages = _by_key(get_many)
    ranges = Ranges(head.undos.ranges, context, get_many)
    read = partial(_rows, context, get_many, get_messages, ranges)
    window = head.window
    if budget is None or window.used_tokens <= budget:
        return _whole(window, read)
    return _newest(window, read, budget)


_Read = Callable[[Segment], tuple[Sequence[int], Sequence[bytes | None]]]
"""The places of a segment (indexes or seqs), and the row at each."""


def _whole(window: Window, read: _Read) -> Shown:
    messages: list[bytes] = []
    segments: list[Segment] = []
    for segment in window.segments:
        shown = [json_of(row) for row in read(segment)[1] if row is not None and row != LEFT_OUT]
        if shown:
            messages += shown
            segments.append(segment)
    return Shown(tuple(messages), window.used_tokens, tuple(segments), over_budget=False)


def _newest(window: Window, read: _Read, budget: int) -> Shown:
    messages: list[bytes] = []
    segments: list[Segment] = []
    used_tokens = 0
    for segment in reversed(window.segments):
        cut = False
        oldest: int | None = None
        places, rows = read(segment)
        for place, row in zip(reversed(places), reversed(rows), strict=True):
            if row is None or row == LEFT_OUT:
                continue
            tokens = tokens_of(row)
            if messages and used_tokens + tokens > budget:
                cut = True
                break
            messages.append(json_of(row))
            used_tokens += tokens
            oldest = place
        if oldest is not None:
            segments.append(_from(segment, oldest) if cut else segment)
        if cut:
            break
    return Shown(
        messages=tuple(reversed(messages)),
        used_tokens=used_tokens,
        segments=tuple(reversed(segments)),
        over_budget=used_tokens > budget,
    )


def _from(segment: Segment, oldest: int) -> Segment:
    """The segment with `oldest` as its first place; a summary still stands for all that it did."""
    if isinstance(segment, Summary):
        return replace(segment, first=oldest)
    return replace(segment, from_seq=oldest)


def _by_key(get_many: GetMany) -> GetMessages:
    def get_messages(context: bytes, seqs: Sequence[int]) -> Sequence[bytes | None]:
        return get_many([message_key(context, seq) for seq in seqs])

    return get_messages


def _rows(
    context: bytes,
    get_many: GetMany,
    get_messages: GetMessages,
    ranges: Ranges,
    segment: Segment,
) -> tuple[Sequence[int], Sequence[bytes | None]]:
    """Every place of a segment (index or seq), and its row. One read for each kind of row."""
    match segment:
        case Summary():
            indexes = range(segment.first, segment.end)
            keys = [replacement_key(context, segment.version, index) for index in indexes]
            return indexes, get_many(keys)
        case Live():
            seqs = list(_seqs(ranges, segment.from_seq, segment.to_seq))
            rows = list(get_messages(context, seqs))
            reduced = seqs[: bisect_right(seqs, segment.shown_to)]
            shown = get_many([shown_key(context, seq) for seq in reduced]) if reduced else ()
            for i, row in enumerate(shown):
                if row is not None:
                    rows[i] = row
            return seqs, rows
        case _:
            assert_never(segment)

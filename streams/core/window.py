"""The window: what is in it, how it grows, how its oldest message leaves, and how it is shown.

Messages are never copied into the window: it names them by seq, and the rows of the tail hold them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from streams.core.head import Live, Segment, Summary, Window
from streams.core.rows import (
    LEFT_OUT,
    Draft,
    json_of,
    message_key,
    replacement_key,
    shown_key,
    tokens_of,
)


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


def delete_own_rows(window: Window, context: bytes, draft: Draft) -> None:
    """Take away the rows that exist for the window's sake: replacements and shown forms."""
    for segment in window.segments:
        match segment:
            case Summary():
                for index in range(segment.first, segment.end):
                    draft.delete(replacement_key(context, segment.version, index))
            case Live():
                for seq in range(segment.from_seq, min(segment.shown_to, segment.to_seq) + 1):
                    draft.delete(shown_key(context, seq))
            case _:
                assert_never(segment)


def without_oldest(window: Window, context: bytes, draft: Draft) -> Window:
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
            shorter = replace(oldest, from_seq=oldest.from_seq + 1)
            empty = oldest.from_seq >= oldest.to_seq
        case _:
            assert_never(oldest)
    segments = rest if empty else (shorter, *rest)
    if row is None or row == LEFT_OUT:
        return Window(segments, window.entries, window.used_tokens)
    return Window(segments, window.entries - 1, window.used_tokens - tokens_of(row))


def without_empty_places(window: Window, context: bytes, draft: Draft) -> Window:
    """The window without the places at its old end that show nothing: they would keep rows hot,
    and be read with every window, for nobody."""
    while window.segments and _oldest_row(window, context, draft) in (None, LEFT_OUT):
        window = without_oldest(window, context, draft)
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


class Shown(Struct, frozen=True):
    """A window as it is served: the messages' JSON, oldest first, and what they count together."""

    messages: tuple[bytes, ...]
    used_tokens: int
    segments: tuple[Segment, ...]
    over_budget: bool


GetMany = Callable[[Sequence[bytes]], Sequence[bytes | None]]


def show(window: Window, context: bytes, get_many: GetMany, budget: int | None) -> Shown:
    """Serve a window within a budget, in tokens: the oldest messages are left out until it fits.

    The newest message is always served; `over_budget` says that it alone is too large. No budget
    (None) leaves nothing out. `get_many` reads rows of the tail, in the order of their keys.
    """
    messages: list[bytes] = []
    segments: list[Segment] = []
    used_tokens = 0
    for segment in reversed(window.segments):
        cut = False
        oldest: int | None = None
        for place, row in _rows_newest_first(segment, context, get_many):
            tokens = tokens_of(row)
            if messages and budget is not None and used_tokens + tokens > budget:
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
        over_budget=budget is not None and used_tokens > budget,
    )


def _from(segment: Segment, oldest: int) -> Segment:
    """The segment with `oldest` as its first place; a summary still stands for all that it did."""
    if isinstance(segment, Summary):
        return replace(segment, first=oldest)
    return replace(segment, from_seq=oldest)


def _rows_newest_first(
    segment: Segment, context: bytes, get_many: GetMany
) -> Iterator[tuple[int, bytes]]:
    """Every shown row of a segment with its place (index or seq). One read for each kind of row."""
    match segment:
        case Summary():
            places = range(segment.first, segment.end)
            rows = get_many([replacement_key(context, segment.version, i) for i in places])
        case Live():
            places = range(segment.from_seq, segment.to_seq + 1)
            rows = list(get_many([message_key(context, seq) for seq in places]))
            reduced = range(segment.from_seq, min(segment.shown_to, segment.to_seq) + 1)
            shown = get_many([shown_key(context, seq) for seq in reduced]) if reduced else ()
            for i, row in enumerate(shown):
                if row is not None:
                    rows[i] = row
        case _:
            assert_never(segment)
    for place, row in zip(reversed(places), reversed(rows), strict=True):
        if row is not None and row != LEFT_OUT:
            yield place, row

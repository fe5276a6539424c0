"""Undoing by what stands, as nobody else must have said anything in between. No I/O: see
`exchange`."""

from rewindow_client import calls
from rewindow_client.errors import Conflict
from rewindow_client.exchange import Asking, Steps
from rewindow_client.shapes import Message, Page


def pop(asking: Asking, context_id: str) -> Steps[Message | None]:
    """Undo the newest message that stands; the message. Each time that somebody else was quicker,
    they have got on, and it is tried again."""
    while True:
        page = yield from _newest(asking, context_id)
        if page is None:
            continue
        if not page.messages:
            return None
        (message,) = page.messages
        assert message.seq is not None, "only replacements have none"
        try:
            yield from asking.ask(calls.undo(context_id, message.seq, page.version, None))
        except Conflict:
            continue
        return message


def _newest(asking: Asking, context_id: str) -> Steps[Page | None]:
    """A page with the newest message that stands, or none; None where something was said while it
    was looked for."""
    page = yield from asking.ask(calls.page(context_id, -1, None, 1))
    if not page.undone:
        return page
    # An undo reaches to the newest message, and what is just before the range stands.
    before = yield from asking.ask(calls.page(context_id, None, page.undone[0].from_seq, 1))
    return before if before.version == page.version else None


def clear(asking: Asking, context_id: str) -> Steps[None]:
    """Undo all that stands, and empty the window, which may show what stands for no message."""
    while True:
        undone = yield from asking.ask(calls.undo(context_id, 1, None, None))
        try:
            version = undone.version
            window = yield from asking.ask(calls.window(context_id, if_version=version))
            if window.messages:
                yield from asking.ask(calls.compact(context_id, [], version, None))
        except Conflict:
            continue
        return

"""The client for code that waits. `async_client` has the same for code that awaits."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, Unpack, overload

from rewindow_client import calls, rewinding
from rewindow_client.connection import Connection
from rewindow_client.following import Following
from rewindow_client.frames import Frames
from rewindow_client.shapes import (
    AnyMessage,
    Appended,
    Compacted,
    ContextState,
    Json,
    Message,
    Page,
    RenderedWindow,
    Settings,
    Undone,
    Window,
)


class Rewindow:
    """Asks the nodes behind one address; any node will do. Threads may share it.

    `timeout`: seconds that a call may take altogether, with all that is tried again in it. Raises
    `ValueError` where the address or the key can be none.
    """

    def __init__(self, base_url: str, api_key: str | None = None, *, timeout: float = 30.0) -> None:
        self._connection = Connection(base_url, api_key, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._connection.close()

    def context(self, context_id: str) -> "Context":
        """One context, which need not exist yet; nothing is asked. Raises `ValueError` where none
        can have this id."""
        return Context(self._connection, context_id)

    def contexts(
        self, prefix: str | None = None, *, page_size: int = 100
    ) -> Iterator[ContextState]:
        """All contexts whose id begins with `prefix`, in the order of their ids."""
        after = None
        while True:
            page = self._connection.ask(calls.contexts(prefix, page_size, after))
            yield from page.contexts
            if (after := page.next) is None:
                return


class Context:
    """One conversation. Every method raises `RewindowError`.

    `if_version`: only at this version, else `Conflict`. `key`: an idempotency key of your own, by
    which a write may be repeated in another process; each write has one in any case.
    """

    def __init__(self, connection: Connection, context_id: str) -> None:
        calls.path_of(context_id)
        self.id = context_id
        self._connection = connection

    # -- the context itself -----------------------------------------------------------------------

    def configure(self, *, key: str | None = None, **settings: Unpack[Settings]) -> ContextState:
        """Make it, or change its settings."""
        return self._connection.ask(calls.configure(self.id, settings, key))

    def state(self) -> ContextState:
        """Settings and state."""
        return self._connection.ask(calls.state(self.id))

    def delete(self) -> None:
        """Close it for good; what was said stays readable."""
        self._connection.ask(calls.delete(self.id))

    def patch_metadata(self, metadata: Json, *, key: str | None = None) -> ContextState:
        """Merge keys into its metadata; None takes a key away."""
        return self._connection.ask(calls.patch_metadata(self.id, metadata, key))

    # -- messages ---------------------------------------------------------------------------------

    def append(
        self, *messages: AnyMessage, if_version: int | None = None, key: str | None = None
    ) -> Appended:
        """Append up to 100 messages, all or nothing, each once whatever happens on the way."""
        return self._connection.ask(calls.append(self.id, messages, if_version, key))

    def undo(
        self, from_seq: int, *, if_version: int | None = None, key: str | None = None
    ) -> Undone:
        """Undo every message that stands from this seq on: it stays in the history, and leaves the
        window and the tail."""
        return self._connection.ask(calls.undo(self.id, from_seq, if_version, key))

    def pop(self) -> Message | None:
        """Undo the newest message that stands, however many try that at once; the message."""
        return self._connection.run(rewinding.pop(self._connection.asking, self.id))

    def clear(self) -> None:
        """Undo all that stands, and empty the window."""
        self._connection.run(rewinding.clear(self._connection.asking, self.id))

    def tail(self, limit: int = 100, offset: int = 0) -> list[Message]:
        """Up to 1,000 messages counted back from the newest, oldest first."""
        return self._connection.ask(calls.tail(self.id, limit, offset)).messages

    def page(
        self, *, from_seq: int | None = None, before_seq: int | None = None, limit: int = 100
    ) -> Page:
        """A page of the history: from a seq on (-n: the n-th newest), or what is before a seq."""
        return self._connection.ask(calls.page(self.id, from_seq, before_seq, limit))

    def replay(self, from_seq: int = 1, *, page_size: int = 1000) -> Iterator[Message]:
        """All messages from a seq on, undone ones as well."""
        next_seq: int | None = from_seq
        while next_seq is not None:
            page = self.page(from_seq=next_seq, limit=page_size)
            yield from page.messages
            next_seq = page.next_seq

    # -- window -----------------------------------------------------------------------------------

    @overload
    def window(
        self,
        *,
        budget_tokens: int | None = None,
        if_version: int | None = None,
        min_version: int | None = None,
    ) -> Window: ...

    @overload
    def window(
        self,
        *,
        format: str,
        budget_tokens: int | None = None,
        if_version: int | None = None,
        min_version: int | None = None,
    ) -> RenderedWindow: ...

    def window(self, *, format: str | None = None, **asked: int | None) -> Window | RenderedWindow:
        """What the model sees. `budget_tokens`: another budget, this once; `min_version`: wait for
        this version; `format`: in the shape that a provider takes, such as `openai-chat`."""
        if format is None:
            return self._connection.ask(calls.window(self.id, **asked))
        return self._connection.ask(calls.rendered_window(self.id, format, **asked))

    def compact(
        self,
        replacement: Iterable[AnyMessage],
        *,
        if_version: int | None = None,
        key: str | None = None,
    ) -> Compacted:
        """Put these messages in the place of the whole window; the history keeps the others."""
        return self._connection.ask(calls.compact(self.id, replacement, if_version, key))

    # -- live -------------------------------------------------------------------------------------

    def follow(self, cursor: int | None = None, *, messages: bool = True) -> Frames:
        """What happens after the version `cursor`, 0 for everything, None for from now on; without
        an end, unless the context is deleted. `messages`: whether to be told what is said, or only
        what becomes of the window."""
        return self._connection.follow(
            Following(self._connection.asking, self.id, cursor, messages=messages)
        )

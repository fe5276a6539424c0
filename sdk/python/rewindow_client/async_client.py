"""The client for code that awaits. `client` has the same for code that waits."""

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self, Unpack, overload

from rewindow_client import calls, rewinding
from rewindow_client.connection import AsyncConnection
from rewindow_client.following import Following
from rewindow_client.frames import AsyncFrames
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


class AsyncRewindow:
    """Asks the nodes behind one address; any node will do. For one event loop.

    `timeout`: seconds that a call may take altogether, with all that is tried again in it. Raises
    `ValueError` where the address or the key can be none.
    """

    def __init__(self, base_url: str, api_key: str | None = None, *, timeout: float = 30.0) -> None:
        self._connection = AsyncConnection(base_url, api_key, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._connection.close()

    def context(self, context_id: str) -> "AsyncContext":
        """One context, which need not exist yet; nothing is asked. Raises `ValueError` where none
        can have this id."""
        return AsyncContext(self._connection, context_id)

    async def contexts(
        self, prefix: str | None = None, *, page_size: int = 100
    ) -> AsyncIterator[ContextState]:
        """All contexts whose id begins with `prefix`, in the order of their ids."""
        after = None
        while True:
            page = await self._connection.ask(calls.contexts(prefix, page_size, after))
            for context in page.contexts:
                yield context
            if (after := page.next) is None:
                return


class AsyncContext:
    """One conversation. Every method raises `RewindowError`.

    `if_version`: only at this version, else `Conflict`. `key`: an idempotency key of your own, by
    which a write may be repeated in another process; each write has one in any case.
    """

    def __init__(self, connection: AsyncConnection, context_id: str) -> None:
        calls.path_of(context_id)
        self.id = context_id
        self._connection = connection

    # -- the context itself -----------------------------------------------------------------------

    async def configure(
        self, *, key: str | None = None, **settings: Unpack[Settings]
    ) -> ContextState:
        """Make it, or change its settings."""
        return await self._connection.ask(calls.configure(self.id, settings, key))

    async def state(self) -> ContextState:
        """Settings and state."""
        return await self._connection.ask(calls.state(self.id))

    async def delete(self) -> None:
        """Close it for good; what was said stays readable."""
        await self._connection.ask(calls.delete(self.id))

    async def patch_metadata(self, metadata: Json, *, key: str | None = None) -> ContextState:
        """Merge keys into its metadata; None takes a key away."""
        return await self._connection.ask(calls.patch_metadata(self.id, metadata, key))

    # -- messages ---------------------------------------------------------------------------------

    async def append(
        self, *messages: AnyMessage, if_version: int | None = None, key: str | None = None
    ) -> Appended:
        """Append up to 100 messages, all or nothing, each once whatever happens on the way."""
        return await self._connection.ask(calls.append(self.id, messages, if_version, key))

    async def undo(
        self, from_seq: int, *, if_version: int | None = None, key: str | None = None
    ) -> Undone:
        """Undo every message that stands from this seq on: it stays in the history, and leaves the
        window and the tail."""
        return await self._connection.ask(calls.undo(self.id, from_seq, if_version, key))

    async def pop(self) -> Message | None:
        """Undo the newest message that stands, however many try that at once; the message."""
        return await self._connection.run(rewinding.pop(self._connection.asking, self.id))

    async def clear(self) -> None:
        """Undo all that stands, and empty the window."""
        await self._connection.run(rewinding.clear(self._connection.asking, self.id))

    async def tail(self, limit: int = 100, offset: int = 0) -> list[Message]:
        """Up to 1,000 messages counted back from the newest, oldest first."""
        return (await self._connection.ask(calls.tail(self.id, limit, offset))).messages

    async def page(
        self, *, from_seq: int | None = None, before_seq: int | None = None, limit: int = 100
    ) -> Page:
        """A page of the history: from a seq on (-n: the n-th newest), or what is before a seq."""
        return await self._connection.ask(calls.page(self.id, from_seq, before_seq, limit))

    async def replay(self, from_seq: int = 1, *, page_size: int = 1000) -> AsyncIterator[Message]:
        """All messages from a seq on, undone ones as well."""
        next_seq: int | None = from_seq
        while next_seq is not None:
            page = await self.page(from_seq=next_seq, limit=page_size)
            for message in page.messages:
                yield message
            next_seq = page.next_seq

    # -- window -----------------------------------------------------------------------------------

    @overload
    async def window(
        self,
        *,
        budget_tokens: int | None = None,
        if_version: int | None = None,
        min_version: int | None = None,
    ) -> Window: ...

    @overload
    async def window(
        self,
        *,
        format: str,
        budget_tokens: int | None = None,
        if_version: int | None = None,
        min_version: int | None = None,
    ) -> RenderedWindow: ...

    async def window(
        self, *, format: str | None = None, **asked: int | None
    ) -> Window | RenderedWindow:
        """What the model sees. `budget_tokens`: another budget, this once; `min_version`: wait for
        this version; `format`: in the shape that a provider takes, such as `openai-chat`."""
        if format is None:
            return await self._connection.ask(calls.window(self.id, **asked))
        return await self._connection.ask(calls.rendered_window(self.id, format, **asked))

    async def compact(
        self,
        replacement: Iterable[AnyMessage],
        *,
        if_version: int | None = None,
        key: str | None = None,
    ) -> Compacted:
        """Put these messages in the place of the whole window; the history keeps the others."""
        return await self._connection.ask(calls.compact(self.id, replacement, if_version, key))

    # -- live -------------------------------------------------------------------------------------

    def follow(self, cursor: int | None = None, *, messages: bool = True) -> AsyncFrames:
        """What happens after the version `cursor`, 0 for everything, None for from now on; without
        an end, unless the context is deleted. `messages`: whether to be told what is said, or only
        what becomes of the window."""
        return self._connection.follow(
            Following(self._connection.asking, self.id, cursor, messages=messages)
        )

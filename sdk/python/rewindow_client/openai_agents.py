"""A session of the OpenAI Agents SDK that lives in a context of Rewindow."""

from typing import Final, Unpack, cast

from agents.items import TResponseInputItem
from agents.memory import SessionSettings
from agents.memory.session_settings import resolve_session_limit

from rewindow_client.async_client import AsyncRewindow
from rewindow_client.batches import batches
from rewindow_client.openai_items import detached, is_whole, items_of, message_of
from rewindow_client.shapes import Json, Segment, Settings, Window

PAGE_MESSAGES: Final = 1000


class RewindowSession:
    """The items of a conversation, a message each, in the context of the session's id.

    Without a limit, `get_items` gives the context's window: what fits its budget, by its policy.
    Where that is not all that was said, reasoning is left out, and results whose call is gone. With
    a limit it gives the newest items as they were said. `pop_item` and `clear_session` undo: the
    history keeps what was said.

    Any number of processes may share a session. `settings` are the context's, set at the first use.
    Every method raises `RewindowError`.
    """

    def __init__(
        self,
        session_id: str,
        client: AsyncRewindow,
        *,
        session_settings: SessionSettings | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.session_id = session_id
        self.session_settings = session_settings
        self.context = client.context(session_id)
        """For all that the SDK has no word for."""
        self._settings = settings
        self._is_there = False
        self._version = 0
        """The newest that was written here: reads show no older one."""

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The window, or the newest `limit` items, oldest first."""
        await self._begin()
        most = resolve_session_limit(limit, self.session_settings)
        if most is None:
            items = await self._shown()
        else:
            items = await self._newest(most)
        return cast(list[TResponseInputItem], items)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items, all or nothing: up to 100, of up to 3 MiB together. More than that goes in
        in several steps, one after the other."""
        await self._begin()
        for batch in batches(message_of(cast(Json, item)) for item in items):
            appended = await self.context.append(*batch)
            self._version = appended.version

    async def pop_item(self) -> TResponseInputItem | None:
        """Undo the newest message, and give its item back. A message of several items, which
        somebody else has written, goes as a whole."""
        await self._begin()
        while (message := await self.context.pop()) is not None:
            if items := items_of(message):
                return cast(TResponseInputItem, items[-1])
        return None

    async def clear_session(self) -> None:
        """Undo all of it, and empty the window."""
        await self._begin()
        await self.context.clear()

    async def _begin(self) -> None:
        if not self._is_there:
            await self.context.configure(**self._settings)
            self._is_there = True

    async def _shown(self) -> list[Json]:
        window = await self.context.window(min_version=self._version)
        items = [item for message in window.messages for item in items_of(message)]
        return items if await self._is_all(window) else detached(items)

    async def _is_all(self, window: Window) -> bool:
        """Whether the window shows all that stands, as it was said."""
        messages = window.messages
        if not all(message.seq is not None and is_whole(message) for message in messages):
            return False
        if window.segments == [Segment("live", 1, len(messages))] or not messages:
            return True
        return await self.context.tail(1, offset=len(messages)) == []

    async def _newest(self, limit: int) -> list[Json]:
        """Pages of the tail, until there are enough."""
        items: list[Json] = []
        offset = 0
        while len(items) < limit:
            page = await self.context.tail(min(limit, PAGE_MESSAGES), offset)
            if not page:
                break
            items = [item for message in page for item in items_of(message)] + items
            offset += len(page)
        return items[-limit:] if limit > 0 else []

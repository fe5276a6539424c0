"""A chat message history of LangChain that lives in a context of Rewindow."""

from collections.abc import Sequence
from typing import Unpack

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from rewindow_client.async_client import AsyncRewindow
from rewindow_client.batches import batches
from rewindow_client.client import Rewindow
from rewindow_client.langchain_messages import message_of, messages_of
from rewindow_client.shapes import Json, Settings, Window


class RewindowChatMessageHistory(BaseChatMessageHistory):
    """What is added is appended to the context of the session's id; what is read is its window:
    what fits its budget, by its policy.

    Without an `async_client`, the async methods ask the other one in threads. `settings` are the
    context's, set at the first use. Every method raises `RewindowError`.
    """

    def __init__(
        self,
        session_id: str,
        client: Rewindow,
        async_client: AsyncRewindow | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__()
        self.context = client.context(session_id)
        """For all that LangChain has no word for."""
        self.async_context = None if async_client is None else async_client.context(session_id)
        self._settings = settings
        self._is_there = False
        self._version = 0
        """The newest that was written here: reads show no older one."""

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The window."""
        self._begin()
        return _read(self.context.window(min_version=self._version))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages, all or nothing: up to 100, of up to 3 MiB together. More than that goes
        in in several steps, one after the other."""
        self._begin()
        for batch in batches(map(_written, messages)):
            self._version = self.context.append(*batch).version

    def clear(self) -> None:
        """Undo all of it, and empty the window; the history keeps what was said."""
        self._begin()
        self.context.clear()

    async def aget_messages(self) -> list[BaseMessage]:
        """The window."""
        if self.async_context is None:
            return await super().aget_messages()
        await self._abegin()
        return _read(await self.async_context.window(min_version=self._version))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """As `add_messages`."""
        if self.async_context is None:
            return await super().aadd_messages(messages)
        await self._abegin()
        for batch in batches(map(_written, messages)):
            self._version = (await self.async_context.append(*batch)).version
        return None

    async def aclear(self) -> None:
        """As `clear`."""
        if self.async_context is None:
            return await super().aclear()
        await self._abegin()
        return await self.async_context.clear()

    def _begin(self) -> None:
        if not self._is_there:
            self.context.configure(**self._settings)
            self._is_there = True

    async def _abegin(self) -> None:
        if not self._is_there and self.async_context is not None:
            await self.async_context.configure(**self._settings)
            self._is_there = True


def _written(message: BaseMessage) -> Json:
    return dict(message_of(message_to_dict(message)))


def _read(window: Window) -> list[BaseMessage]:
    return messages_from_dict([one for message in window.messages for one in messages_of(message)])

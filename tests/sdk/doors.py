"""Both doors behind one: a test awaits, and asks the client that waits as well."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from rewindow_client import AsyncRewindow, Rewindow

END: Any = object()


class Door:
    """A client of either kind, or a context of it. What it has is asked in a thread where it
    waits."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not callable(found):
            return found

        def asked(*args: Any, **more: Any) -> Any:
            if name == "context":
                return Door(found(*args, **more))
            if name in ("contexts", "replay", "follow"):
                return _iterated(found(*args, **more))
            if inspect.iscoroutinefunction(found):
                return found(*args, **more)
            return asyncio.to_thread(found, *args, **more)

        return asked


async def _iterated(found: Any) -> AsyncIterator[Any]:
    """What either kind of iterator gives."""
    if isinstance(found, Iterator):
        while (one := await asyncio.to_thread(next, found, END)) is not END:
            yield one
    else:
        async for one in found:
            yield one


async def listed(iterator: AsyncIterator[Any]) -> list[Any]:
    """All that it gives."""
    return [one async for one in iterator]


@asynccontextmanager
async def opened(kind: str, url: str, *args: Any, **more: Any) -> AsyncIterator[Door]:
    """A client of a kind, `sync` or `async`; closed at the end, so that no thread asks on."""
    door = Door((AsyncRewindow if kind == "async" else Rewindow)(url, *args, **more))
    try:
        yield door
    finally:
        await door.close()

"""Waiting for something to come about: asked again and again, up to a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

PATIENCE_S = 30.0
ASK_AGAIN_S = 0.02


def until(predicate: Callable[[], T], what: str = "", *, deadline_s: float = PATIENCE_S) -> T:
    """The first truthy value of `predicate`. Fails the test, naming `what`, after the deadline."""
    end = time.monotonic() + deadline_s
    while not (value := predicate()):
        if time.monotonic() > end:
            _fail(predicate, what, deadline_s, value)
        time.sleep(ASK_AGAIN_S)
    return value


def until_it_holds(check: Callable[[], None], *, deadline_s: float = PATIENCE_S) -> None:
    """Wait until the assertions of `check` hold. Raises the one that fails after the deadline."""

    def holds() -> bool:
        try:
            check()
        except AssertionError:
            return False
        return True

    end = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > end:
            return check()
        time.sleep(ASK_AGAIN_S)
    return None


async def until_async(
    predicate: Callable[[], Awaitable[T]], what: str = "", *, deadline_s: float = PATIENCE_S
) -> T:
    """`until` for a predicate that is awaited."""
    end = time.monotonic() + deadline_s
    while not (value := await predicate()):
        if time.monotonic() > end:
            _fail(predicate, what, deadline_s, value)
        await asyncio.sleep(ASK_AGAIN_S)
    return value


def _fail(predicate: object, what: str, deadline_s: float, value: object) -> None:
    name = what or getattr(predicate, "__name__", repr(predicate))
    pytest.fail(f"not within {deadline_s:g} s: {name} (the last answer was {value!r})")

"""An event loop that runs nothing by itself: the world says when it turns, and when a job is done.

Tasks, futures, locks and time-outs are asyncio's own; only what comes next is decided elsewhere.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from itertools import count
from typing import Any, NamedTuple

from tests.simulation.clock import Clock


class Job(NamedTuple):
    """What was handed to a thread, and the future that waits for it."""

    function: Callable[[], Any]
    future: asyncio.Future[Any]
    owner: object


class Loop(asyncio.AbstractEventLoop):
    """`jobs`: calls that threads have not begun yet. `on_failure`: told of exceptions that nobody
    catches."""

    def __init__(self, clock: Clock, on_failure: Callable[[dict[str, Any]], None]) -> None:
        self.jobs: list[Job] = []
        self._clock = clock
        self._on_failure = on_failure
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._number = count()
        self._tasks: list[asyncio.Task[Any]] = []

    # -- for the world --------------------------------------------------------------------------

    def has_work(self) -> bool:
        """Whether a turn would run anything."""
        return bool(self._ready) or self.wakes_at() <= self._clock.now

    def wakes_at(self) -> float:
        """When the next timer is due."""
        while self._timers and self._timers[0][2].cancelled():
            heappop(self._timers)
        return self._timers[0][0] if self._timers else float("inf")

    def turn(self, goes_on: Callable[[], bool]) -> None:
        """Run what is ready now, in the order in which it became so."""
        while self.wakes_at() <= self._clock.now:
            self._ready.append(heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
            if not goes_on():
                return

    def do(self, job: Job) -> None:
        """Play the thread that does a job. The loop hears of the result at its next turn."""
        try:
            result = job.function()
        except Exception as exc:
            self.call_soon(_settle, job.future, None, exc)
        else:
            self.call_soon(_settle, job.future, result, None)

    def close(self) -> None:
        """Nothing of this will ever run; Python complains of coroutines that never began."""
        for task in self._tasks:
            _drop(task.get_coro())

    # -- for asyncio ----------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._number), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when its time comes."""

    def time(self) -> float:
        return self._clock.now

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **more)
        self._tasks.append(task)
        return task

    def run_in_executor(self, _executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()
        # asyncio.to_thread() wraps what is called in a partial of its context.
        inner = func.args[0] if hasattr(func, "args") else func
        owner = getattr(inner, "__self__", None)
        self.jobs.append(Job(lambda: func(*args), future, owner))
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._on_failure(context)


def _settle(future: asyncio.Future[Any], result: Any, exc: Exception | None) -> None:
    if future.done():
        return
    if exc is None:
        future.set_result(result)
    else:
        future.set_exception(exc)


def _drop(coroutine: Any) -> None:
    if getcoroutinestate(coroutine) == CORO_CREATED:
        for argument in coroutine.cr_frame.f_locals.values():
            if iscoroutine(argument):
                _drop(argument)
        coroutine.close()

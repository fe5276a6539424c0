"""Everything on one machine: Kafka, Postgres and a node as children, watched and started again."""

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar, cast

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import Kafka
from rewindow.embedded.node import COMMAND, Node
from rewindow.embedded.ports import is_free
from rewindow.embedded.postgres import Postgres
from rewindow.embedded.saying import Saying
from rewindow.embedded.server import Ended, Server
from rewindow.endpoints import BrokerAt, Endpoints, NodeAt, write_endpoints
from rewindow.errors import CannotStart
from rewindow.settings import UpSettings

HOST: Final = "127.0.0.1"
DYING_S: Final = 2.0
"""How long the node of an `up` that was killed a moment ago may go on holding the HTTP port."""
NODE_TRIES: Final = 3
"""How often a node may end before it was ever ready."""
STEADY_S: Final = 10.0
"""Who lived this long is started again at once, whatever was before."""
PAUSE_FIRST_S: Final = 0.5
PAUSE_LAST_S: Final = 15.0

T = TypeVar("T")

OnReady = Callable[[Endpoints], Awaitable[None]]


class Up:
    """`run()` once. `node_command` is what runs as the node, told all by its environment."""

    def __init__(self, settings: UpSettings, *, node_command: Sequence[str] = COMMAND) -> None:
        self._settings = settings
        self._node_command = node_command
        self._say = Saying()
        self._url = f"http://{HOST}:{settings.port}"
        self._folder = DataFolder(settings.data)
        self._kafka: Kafka | None = None
        self._postgres: Postgres | None = None
        self._node: Node | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._ready = False

    async def run(self, on_ready: OnReady | None = None) -> None:
        """Start everything, watch over it until a signal comes, stop everything.

        1. the data folder and the port are ours, or `CannotStart` is raised;
        2. Kafka and Postgres, side by side; then the node, until it is ready;
        3. `endpoints.json`, and `ready <url>` on standard output;
        4. `on_ready`; what dies is started again;
        5. at a signal or an error, stop: the node, then Kafka and Postgres, side by side.
        """
        self._folder.hold()  # 1
        try:
            self._remove_endpoints()
            if not is_free(self._settings.port, within_s=DYING_S):
                raise CannotStart(
                    f"port {self._settings.port} is taken; free it, or choose another one with "
                    "--port"
                )
            signalled = _on_signals()
            working = asyncio.create_task(self._work(on_ready))
            try:
                await asyncio.wait((working, signalled), return_when=asyncio.FIRST_COMPLETED)
            finally:
                await self._stop(working)  # 5
            if not working.cancelled():
                working.result()
        finally:
            self._folder.release()

    async def _work(self, on_ready: OnReady | None) -> None:
        await self._start()  # 2
        self._ready = True
        self._write_endpoints()  # 3
        self._say.done()
        # What scripts wait for, on a line by itself.
        sys.stdout.write(f"ready {self._url}\n")
        sys.stdout.flush()
        if on_ready is not None:
            await on_ready(self._endpoints())  # 4
        await asyncio.gather(*self._watches)

    # -- start ------------------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._settings.no_postgres:
            self._say.doing("starting Kafka")
            kafka = await self._start_kafka()
        else:
            self._say.doing("starting Kafka and Postgres")
            try:
                async with asyncio.TaskGroup() as group:
                    beside = group.create_task(self._start_kafka())
                    group.create_task(self._start_postgres())
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
            kafka = beside.result()
        await self._start_node(kafka)

    async def _start_kafka(self) -> Kafka:
        jars = await _in_thread(lambda: class_path(self._say.detail))
        kafka = self._kafka = await _in_thread(lambda: Kafka(self._folder, jars))
        await self._start_server(kafka)
        return kafka

    async def _start_postgres(self) -> None:
        postgres = self._postgres = await _in_thread(lambda: Postgres(self._folder))
        await self._start_server(postgres)

    async def _start_server(self, server: Server) -> None:
        await _in_thread(server.start)
        await _in_thread(server.wait_ready)
        self._watches.append(asyncio.create_task(self._watch(server)))

    async def _start_node(self, kafka: Kafka) -> None:
        node = self._node = Node(
            "node-1",
            self._url,
            self._folder,
            command=self._node_command,
            told={
                "REWINDOW_KAFKA": kafka.address,
                "REWINDOW_POSTGRES": None if self._postgres is None else self._postgres.url,
                "REWINDOW_HOST": HOST,
                "REWINDOW_PORT": str(self._settings.port),
                "REWINDOW_URL": self._url,
                "REWINDOW_NODE_ID": "node-1",
                "REWINDOW_PARTITIONS": str(self._settings.partitions),
            },
        )
        self._say.doing(f"starting the node (its log: {node.log})")
        for _ in range(NODE_TRIES - 1):
            try:
                await self._start_server(node)
            except Ended as exc:
                self._say.line(f"{exc}; it is started again")
            else:
                return
        await self._start_server(node)

    # -- watch ------------------------------------------------------------------------------------

    async def _watch(self, server: Server) -> None:
        """Start it again whenever it has ended: at once, then after pauses that grow."""
        deaths = 0
        while True:
            born = time.monotonic()
            status = await _in_thread(server.wait_ended)
            deaths = 1 if time.monotonic() - born > STEADY_S else deaths + 1
            pause_s = _pause_s(deaths)
            when = f"in {pause_s:g} s" if pause_s else "at once"
            self._say.line(
                f"{server.name} (pid {server.pid}) ended with status {status} and is started again "
                f"{when}; its log: {server.log}"
            )
            await asyncio.sleep(pause_s)
            try:
                await _in_thread(server.start)
            except (CannotStart, OSError) as exc:
                self._say.line(f"{server.name} could not be started: {exc}")
            if self._ready:
                self._write_endpoints()

    def _endpoints(self) -> Endpoints:
        assert self._kafka is not None, "started"
        assert self._kafka.pid is not None, "started"
        assert self._node is not None, "started"
        assert self._node.pid is not None, "started"
        return Endpoints(
            http=[self._url],
            kafka=self._kafka.address,
            postgres=None if self._postgres is None else self._postgres.url,
            nodes=[NodeAt(self._url, self._node.pid)],
            brokers=[BrokerAt(self._kafka.address, self._kafka.pid)],
        )

    def _write_endpoints(self) -> None:
        write_endpoints(self._folder.path, self._endpoints())

    # -- stop -------------------------------------------------------------------------------------

    async def _stop(self, working: asyncio.Task[None]) -> None:
        tasks = (working, *self._watches)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._say.done()
        self._remove_endpoints()
        if self._node is not None:
            self._say.line("stopping the node, then Kafka and Postgres")
            await _in_thread(self._node.stop)
        beneath = [server for server in (self._kafka, self._postgres) if server is not None]
        await asyncio.gather(*(_in_thread(server.stop) for server in beneath))

    def _remove_endpoints(self) -> None:
        (self._folder.path / "endpoints.json").unlink(missing_ok=True)


def _pause_s(deaths: int) -> float:
    """Before the start that follows the `deaths`-th quick death in a row."""
    return 0.0 if deaths == 1 else min(PAUSE_LAST_S, PAUSE_FIRST_S * 2.0 ** (deaths - 2))


def _on_signals() -> asyncio.Future[None]:
    """Done at the first signal to stop.

    The handlers stay: an impatient second Ctrl-C must not leave the children half stopped.
    """
    loop = asyncio.get_running_loop()
    signalled: asyncio.Future[None] = loop.create_future()

    def note() -> None:
        if not signalled.done():
            signalled.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Who started us with nohup wants us to outlive the terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, note)
    return signalled


async def _in_thread(call: Callable[[], T]) -> T:
    """Like `asyncio.to_thread`, but the program can end while the call goes on."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(cast(T, value))

    def work() -> None:
        value, error = None, None
        try:
            value = call()
        except BaseException as exc:
            error = exc
        # Nobody waits any more where the loop is closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, daemon=True).start()
    return await result

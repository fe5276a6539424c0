"""Everything on one machine: Kafka, Postgres and nodes as children, watched and started again."""

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar, cast

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import HOST, Kafka, replication_of
from rewindow.embedded.node import COMMAND, Node
from rewindow.embedded.ports import is_free
from rewindow.embedded.postgres import Postgres
from rewindow.embedded.saying import Saying
from rewindow.embedded.server import Ended, Server
from rewindow.endpoints import BrokerAt, Endpoints, NodeAt, write_endpoints
from rewindow.errors import CannotStart
from rewindow.settings import UpSettings

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
        self._ports = range(settings.port, settings.port + settings.nodes)
        self._folder = DataFolder(settings.data)
        self._brokers: list[Kafka] = []
        self._postgres: Postgres | None = None
        self._nodes: list[Node] = []
        self._watches: list[asyncio.Task[None]] = []
        self._ready = False

    async def run(self, on_ready: OnReady | None = None) -> None:
        """Start everything, watch over it until a signal comes, stop everything.

        1. the data folder and the ports are ours, or `CannotStart` is raised;
        2. Kafka and Postgres, side by side; then the nodes, until they are ready;
        3. `endpoints.json`, and `ready <url>` on standard output;
        4. `on_ready`; what dies is started again;
        5. at a signal or an error, stop: the nodes, then Kafka and Postgres, side by side.
        """
        self._folder.hold()  # 1
        try:
            self._remove_endpoints()
            for port in self._ports:
                if not is_free(port, within_s=DYING_S):
                    raise CannotStart(
                        f"port {port} is taken; free it, or choose another one with --port"
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
        sys.stdout.write(f"ready {self._endpoints().http[0]}\n")
        sys.stdout.flush()
        if on_ready is not None:
            await on_ready(self._endpoints())  # 4
        await asyncio.gather(*self._watches)

    # -- start ------------------------------------------------------------------------------------

    async def _start(self) -> None:
        with_postgres = not self._settings.no_postgres
        self._say.doing("starting Kafka and Postgres" if with_postgres else "starting Kafka")
        await _all_of(self._start_kafka(), *([self._start_postgres()] if with_postgres else []))
        await self._start_nodes()

    async def _start_kafka(self) -> None:
        jars = await _in_thread(lambda: class_path(self._say.detail))
        count = self._settings.brokers
        for number in range(1, count + 1):
            one = await _in_thread(
                lambda n=number: Kafka(self._folder, jars, number=n, brokers=count)  # type: ignore[misc]
            )
            self._brokers.append(one)
        await _all_of(*(self._start_server(one) for one in self._brokers))

    async def _start_postgres(self) -> None:
        postgres = self._postgres = await _in_thread(lambda: Postgres(self._folder))
        await self._start_server(postgres)

    async def _start_server(self, server: Server) -> None:
        await _in_thread(server.start)
        await _in_thread(server.wait_ready)
        self._watches.append(asyncio.create_task(self._watch(server)))

    async def _start_nodes(self) -> None:
        self._nodes = [self._node(number, port) for number, port in enumerate(self._ports, start=1)]
        logs = ", ".join(str(node.log) for node in self._nodes)
        self._say.doing(f"starting {_nodes(len(self._nodes))} (its log: {logs})")
        await _all_of(*(self._start_node(node) for node in self._nodes))

    def _node(self, number: int, port: int) -> Node:
        name, url = f"node-{number}", f"http://{HOST}:{port}"
        brokers = self._settings.brokers
        return Node(
            name,
            url,
            self._folder,
            command=self._node_command,
            told={
                "REWINDOW_KAFKA": self._kafka(),
                "REWINDOW_POSTGRES": None if self._postgres is None else self._postgres.url,
                "REWINDOW_HOST": HOST,
                "REWINDOW_PORT": str(port),
                "REWINDOW_URL": url,
                "REWINDOW_NODE_ID": name,
                "REWINDOW_PARTITIONS": str(self._settings.partitions),
                "REWINDOW_REPLICATION": str(replication_of(brokers)),
            },
        )

    async def _start_node(self, node: Node) -> None:
        for _ in range(NODE_TRIES - 1):
            try:
                await self._start_server(node)
            except Ended as exc:
                self._say.line(f"{exc}; it is started again")
            else:
                return
        await self._start_server(node)

    def _kafka(self) -> str:
        return ",".join(broker.address for broker in self._brokers)

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
        return Endpoints(
            http=[node.url for node in self._nodes],
            kafka=self._kafka(),
            postgres=None if self._postgres is None else self._postgres.url,
            nodes=[NodeAt(node.url, _pid(node)) for node in self._nodes],
            brokers=[BrokerAt(broker.address, _pid(broker)) for broker in self._brokers],
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
        if self._nodes:
            self._say.line(f"stopping {_nodes(len(self._nodes))}, then Kafka and Postgres")
            await asyncio.gather(*(_in_thread(node.stop) for node in self._nodes))
        beneath = [*self._brokers, *([] if self._postgres is None else [self._postgres])]
        await asyncio.gather(*(_in_thread(server.stop) for server in beneath))

    def _remove_endpoints(self) -> None:
        (self._folder.path / "endpoints.json").unlink(missing_ok=True)


def _nodes(count: int) -> str:
    return "the node" if count == 1 else f"{count} nodes"


def _pid(server: Server) -> int:
    assert server.pid is not None, "started"
    return server.pid


async def _all_of(*jobs: Coroutine[Any, Any, None]) -> None:
    """Side by side; the first one that fails takes the others back, and its reason is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


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

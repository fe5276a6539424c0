"""The stores that a node is measured beside, with their databases, for as long as a job needs
them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from bench.beside import postgres_store, valkey_store
from bench.beside.store_app import StoreServer
from bench.beside.valkey_server import ValkeyServer
from bench.http import Http
from bench.servers import Servers, running

POSTGRES: Final = "Postgres store"
VALKEY: Final = "Valkey store"
STORES: Final = (POSTGRES, VALKEY)


class Stores(NamedTuple):
    """`urls`: where each is asked. `pids`: of each, and of its database."""

    urls: dict[str, str]
    pids: dict[str, tuple[int, int]]
    databases: dict[str, str]

    def fill(self, context_ids: Sequence[str], messages: int, settings: bytes) -> None:
        """Make contexts of so many messages each, in every store."""
        for url in self.urls.values():
            http = Http(url)
            for context_id in context_ids:
                http.put(context_id, settings)
        postgres_store.fill(self.databases[POSTGRES], context_ids, messages)
        valkey_store.fill(self.databases[VALKEY], context_ids, messages)


@contextmanager
def stores(ours: Servers) -> Iterator[Stores]:
    """Both, running: the one in the Postgres that the node's archive is in, the other one in a
    fresh Valkey."""
    with ExitStack() as stack:
        database = ours.database("store")
        postgres_store.prepare(database)
        valkey = stack.enter_context(running(ValkeyServer(ours.folder)))
        addresses = {POSTGRES: database, VALKEY: valkey.url}
        modules = {POSTGRES: postgres_store.__name__, VALKEY: valkey_store.__name__}
        servers = {
            name: stack.enter_context(running(StoreServer(ours.folder, modules[name], address)))
            for name, address in addresses.items()
        }
        behind = {POSTGRES: ours.postgres_pid, VALKEY: valkey.pid}
        pids = {}
        for name, server in servers.items():
            pid, database_pid = server.pid, behind[name]
            assert pid is not None, "started"
            assert database_pid is not None, "started"
            pids[name] = (pid, database_pid)
        yield Stores({name: server.url for name, server in servers.items()}, pids, addresses)

"""Several nodes of one deployment, on brokers and a Postgres of their own."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from bench.messages import PARTITIONS
from bench.servers import HOST, QuietNode, node_at, running
from bench.watching import until
from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.jars import class_path
from rewindow.embedded.kafka import Kafka, replication_of
from rewindow.embedded.ports import free_port
from rewindow.embedded.postgres import Postgres

STEADY_S: Final = 3.0


class Cluster(NamedTuple):
    """What runs."""

    brokers: list[Kafka]
    nodes: list[QuietNode]


@contextmanager
def clustered(path: Path, *, brokers: int, nodes: int) -> Iterator[Cluster]:
    """Brokers, a Postgres, and nodes that share the partitions; stopped at the end."""
    folder = DataFolder(path)
    with ExitStack() as stack:
        folder.hold()
        stack.callback(folder.release)
        jars = class_path(print)
        kafkas = [Kafka(folder, jars, number=n + 1, brokers=brokers) for n in range(brokers)]
        with ThreadPoolExecutor(brokers) as pool:
            # Those of a cluster wait for each other.
            started = [pool.submit(stack.enter_context, running(one)) for one in kafkas]
            for one in started:
                one.result()
        postgres = stack.enter_context(running(Postgres(folder)))
        made = [_node(folder, kafkas, postgres, number) for number in range(nodes)]
        for node in made:
            stack.enter_context(running(node))
        yield Cluster(kafkas, made)


def _node(folder: DataFolder, kafkas: list[Kafka], postgres: Postgres, number: int) -> QuietNode:
    name, replication = f"node-{number}", replication_of(len(kafkas))
    told = {"REWINDOW_NODE_ID": name, "REWINDOW_REPLICATION": str(replication)}
    addresses = ",".join(one.address for one in kafkas)
    url = f"http://{HOST}:{free_port()}"
    return node_at(url, name, folder, addresses, postgres.url, **told)


def all_serve(nodes: list[QuietNode]) -> None:
    """Wait until each partition is on one of these nodes, each node has some, and all of it stays
    so for a while."""
    since = time.monotonic()
    before: list[frozenset[int]] = []

    def shared() -> bool:
        nonlocal since, before
        found = [partitions_of(node) for node in nodes]
        if found != before or not all(found) or sum(map(len, found)) != PARTITIONS:
            since, before = time.monotonic(), found
        return time.monotonic() - since > STEADY_S

    until(shared, "the partitions are shared out")


def partitions_of(node: QuietNode) -> frozenset[int]:
    """What a node has; nothing where it does not answer."""
    asked = HTTPConnection(urlsplit(node.url).netloc, timeout=5)
    try:
        asked.request("GET", "/internal/digests", headers={"Rewindow-Passed-On": "1"})
        digests = msgspec.json.decode(asked.getresponse().read())
    except (OSError, HTTPException, msgspec.DecodeError):
        return frozenset()
    finally:
        asked.close()
    return frozenset(digest["partition"] for digest in digests)

"""A Faust app as the two agents beside the node use it: the node's settings, none of its tables."""

import asyncio
from collections.abc import Callable
from typing import Any

import faust

from bench.beside.drained import Backlog, Drained
from bench.child import answer
from bench.messages import PARTITIONS

ARRIVALS_QUEUED_MAX = 1024


def faust_app(backlog: Backlog) -> faust.App:
    """Not started yet."""
    return faust.App(
        backlog.group,
        broker=f"kafka://{backlog.kafka}",
        store="rocksdb://?driver=rocksdict",
        datadir=f"{backlog.folder}/{backlog.group}",
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=ARRIVALS_QUEUED_MAX,
        stream_wait_empty=False,
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
        autodiscover=False,
    )


async def run_agent(backlog: Backlog, make: Callable[[faust.App, Any], Any]) -> None:
    """Run the agent that `make` returns for an app and a future, until it sets that future."""
    done: asyncio.Future[Drained] = asyncio.get_running_loop().create_future()
    app = faust_app(backlog)
    make(app, done)
    app.finalize()
    await app.start()
    answer(await done)

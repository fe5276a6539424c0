"""The streams of a node, in this process, over a deployment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from streams.app import Streams
from streams.tables.digest import Digest
from streams.tracing import TRACING_OFF, Tracing
from tests.support.deployment import Deployment
from tests.support.wait import until_async


@asynccontextmanager
async def running_streams(
    deployment: Deployment, tracing: Tracing = TRACING_OFF
) -> AsyncIterator[Streams]:
    """Started, and caught up with the log; stopped at the end."""
    async with serving(Streams(deployment.settings, never, tracing=tracing)) as streams:
        yield streams


@asynccontextmanager
async def serving(streams: Streams) -> AsyncIterator[Streams]:
    """Started, and caught up with the log; stopped at the end."""
    try:
        await streams.start()
        await until_async(lambda: ready(streams), "the node is ready")
        yield streams
    finally:
        await streams.stop()


async def folded(streams: Streams, deployment: Deployment) -> list[Digest]:
    """The digests of a node's partitions, once its tables have everything that the log holds."""
    ends = {p: deployment.end(p) for p in range(deployment.settings.partitions)}

    async def reached() -> list[Digest]:
        assert not streams.ended.done(), streams.ended.result()
        digests = await streams.digests()
        return digests if all(d.position + 1 == ends[d.partition] for d in digests) else []

    return await until_async(reached, "everything is folded")


async def ready(streams: Streams) -> bool:
    """Whether it serves everything that it has. Raises why it never will."""
    if streams.ended.done():
        raise streams.ended.result()
    return not streams.contexts.health().problems


def never() -> NoReturn:
    """What is called when another process has the node's place."""
    raise AssertionError("another process took this node's place")

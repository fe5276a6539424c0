"""Everybody who uses the cluster while it suffers: writers, readers and followers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from confluent_kafka import Producer

from schemas.topics import PARTITIONER
from tests.chaos.cluster import TOPICS, Cluster
from tests.chaos.readers import Reader
from tests.chaos.told import Told
from tests.chaos.writers import HttpWriter, LogWriter, Talk, Writer, talks
from tests.support.followers import EventsFollower, Follower, WebsocketFollower
from tests.support.wait import until_async

CONTEXTS: Final = 100
READERS: Final = 10
FOLLOWED: Final = 4
"""The first ones: of these nothing is trimmed, so that a cursor is never too old."""
DELIVERY_MS: Final = 30_000
HEARD_S: Final = 90.0
POLL_S: Final = 0.05
FOR_EVER: Final = 1 << 62


class Crowd:
    """Made when the cluster is ready; runs until it is finished."""

    def __init__(self, cluster: Cluster) -> None:
        self.told = Told()
        self.talks = talks(CONTEXTS)
        self.followers = dict(_followers(cluster.urls, self.talks[:FOLLOWED]))
        self._cluster = cluster
        self._enough = asyncio.Event()

    async def run(self) -> None:
        """Write and read until `finish()`, and until everything that was begun is acknowledged."""
        async with _log(self._cluster.kafka) as producer, asyncio.TaskGroup() as group:
            for writer in self._writers(self._cluster.urls, producer):
                group.create_task(writer.run())
            for reader in self._readers():
                group.create_task(reader.run())

    def finish(self) -> None:
        """No more messages."""
        self._enough.set()

    async def follow(self, versions: Mapping[str, int]) -> None:
        """Follow each followed context up to its version."""
        async with asyncio.timeout(HEARD_S):
            await asyncio.gather(*(one.run(versions[at]) for at, one in self.followers.items()))

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow meanwhile."""
        tasks = [asyncio.create_task(one.run(FOR_EVER)) for one in self.followers.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def heard(self) -> None:
        """Wait until in every context something more has been acknowledged."""
        since = time.monotonic()

        async def each() -> bool:
            return len(self.told.at) == CONTEXTS and not self.told.silent(since)

        await until_async(each, "each context goes on", deadline_s=HEARD_S)

    def _writers(self, urls: Sequence[str], producer: Producer) -> Iterator[Writer]:
        finished = self._enough.is_set
        for number, talk in enumerate(self.talks):
            for at in range(talk.writers):
                name = f"writer {at}"
                if talk.manner == "log":
                    yield LogWriter(
                        talk, name, self.told, finished, producer=producer, topic=TOPICS.log
                    )
                else:
                    yield HttpWriter(talk, name, self.told, finished, urls=urls, first=number + at)

    def _readers(self) -> Iterator[Reader]:
        for seed in range(READERS):
            yield Reader(self._cluster.urls, self.told, self._enough.is_set, seed=seed)


def _followers(urls: Sequence[str], talks: Sequence[Talk]) -> Iterator[tuple[str, Follower]]:
    for number, talk in enumerate(talks):
        kind = WebsocketFollower if number % 2 else EventsFollower
        yield talk.context_id, kind(urls[number % len(urls)], talk.context_id, seed=number)


@asynccontextmanager
async def _log(kafka: str) -> AsyncIterator[Producer]:
    """A producer that is polled."""
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "partitioner": PARTITIONER,
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": DELIVERY_MS,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 0,
        }
    )

    async def poll() -> None:
        while True:
            producer.poll(0)
            await asyncio.sleep(POLL_S)

    polling = asyncio.create_task(poll())
    try:
        yield producer
    finally:
        polling.cancel()

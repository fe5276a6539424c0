"""A bare aiokafka consumer loop that does nothing with what it gets."""

import asyncio

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.beside.drained import Backlog, Progress
from bench.child import answer, told


async def main() -> None:
    """Drain the backlog. What came with the first batch was fetched before, and does not count."""
    backlog = told(Backlog)
    progress = Progress(backlog)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=backlog.kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([TopicPartition(backlog.topic, partition) for partition in backlog.ends])
    counts = over = False
    while not over:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                over = progress.saw(record.partition, record.offset, counts=counts)
            if not counts:
                progress.begin()
                counts = True
    answer(progress.end())


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())

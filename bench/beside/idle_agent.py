"""A Faust agent, Faust as it is shipped, that drains its queue, 500 events at a time, and does
nothing with what it gets."""

import asyncio
from typing import Any, Final

import faust
import uvloop
from faust.types import StreamT

from bench.beside.drained import Backlog, Drained, Progress
from bench.beside.faust_app import run_agent
from bench.child import told
from bench.messages import PARTITIONS

ARRIVALS_MAX: Final = 500


def main() -> None:
    """Drain the backlog. What came with the first batch was fetched before, and does not count."""
    backlog = told(Backlog)
    progress = Progress(backlog)

    def make(app: faust.App, done: asyncio.Future[Drained]) -> None:
        async def agent(stream: StreamT[Any]) -> None:
            channel: Any = stream.channel
            queue = channel.queue
            counts = False
            while True:
                events = [await queue.get()]
                while len(events) < ARRIVALS_MAX and not queue.empty():
                    events.append(queue.get_nowait())
                over = False
                for event in events:
                    over = progress.saw(
                        event.message.partition, event.message.offset, counts=counts
                    )
                if not counts:
                    progress.begin()
                    counts = True
                if over:
                    done.set_result(progress.end())
                    await asyncio.Event().wait()

        topic = app.topic(backlog.topic, partitions=PARTITIONS, acks=False)
        app.agent(topic, name="idle")(agent)

    asyncio.run(run_agent(backlog, make))


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    main()

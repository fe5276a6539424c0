"""The raw round trip: librdkafka produces a record with acks=all, librdkafka consumes it."""

import time
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec import Struct

from bench.child import answer, told
from bench.clients import summed_up
from bench.kafka import config
from bench.messages import PARTITIONS, contexts
from bench.records import records

EVENTS: Final = 1024


class Trips(Struct, frozen=True):
    """So many in flight at any time, for so long after the warm-up."""

    kafka: str
    topic: str
    in_flight: int
    warm_up_s: float
    seconds: float


def main() -> None:
    """Each record that arrives sends the next one off."""
    trips = told(Trips)
    producer = Producer({**config(trips.kafka), "acks": "all", "linger.ms": 0})
    consumer = Consumer(
        {**config(trips.kafka), "group.id": "bench-trips", "auto.offset.reset": "latest"}
    )
    ends = [
        consumer.get_watermark_offsets(TopicPartition(trips.topic, p), timeout=10)[1]
        for p in range(PARTITIONS)
    ]
    consumer.assign([TopicPartition(trips.topic, p, end) for p, end in enumerate(ends)])
    events = list(records(contexts(200), EVENTS))
    sent: list[float] = []
    begin = time.perf_counter() + trips.warm_up_s
    end = begin + trips.seconds
    times: list[float] = []
    begun, cpu_s = 0.0, 0.0

    def send() -> None:
        partition, _, value = events[len(sent) % EVENTS]
        key = b"%d" % len(sent)
        sent.append(time.perf_counter())
        producer.produce(trips.topic, value, key, partition=partition)

    for _ in range(trips.in_flight):
        send()
    while (now := time.perf_counter()) < end:
        producer.poll(0)
        message = consumer.poll(1.0)
        if message is None or message.error() is not None:
            continue
        now = time.perf_counter()
        started = sent[int(message.key() or b"")]
        if started >= begin:
            if not times:
                begun, cpu_s = time.time(), time.process_time()
            times.append(now - started)
        send()
    answer(summed_up(times, trips.seconds, time.process_time() - cpu_s, begun))


if __name__ == "__main__":
    main()

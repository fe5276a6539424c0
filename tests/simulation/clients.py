"""librdkafka's clients, as the nodes use them, over the simulated broker.

Every call that reaches the broker is an effect: the process may die there, or be held up while
others go on.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.broker import Stale

if TYPE_CHECKING:
    from tests.simulation.process import Process

TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True)
NOT_SENT = KafkaError(KafkaError._MSG_TIMED_OUT, "not sent in time", txn_requires_abort=True)
PURGED = KafkaError(KafkaError._PURGE_QUEUE, "purged", txn_requires_abort=True)
FENCED = KafkaError(KafkaError._FENCED, "a newer producer has this name", fatal=True)
END = KafkaError(KafkaError._PARTITION_EOF)


class Message:
    """A record as a consumer hands it out, or the news that a partition ends here."""

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None = None,
        value: bytes | None = None,
        timestamp_ms: int = 0,
        error: KafkaError | None = None,
    ) -> None:
        self._at = topic, partition, offset
        self._key = key
        self._value = value
        self._timestamp_ms = timestamp_ms
        self._error = error

    def topic(self) -> str:
        return self._at[0]

    def partition(self) -> int:
        return self._at[1]

    def offset(self) -> int:
        return self._at[2]

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def __len__(self) -> int:
        return len(self._value or b"")

    def timestamp(self) -> tuple[int, int]:
        return 2, self._timestamp_ms

    def error(self) -> KafkaError | None:
        return self._error


class _Queued(NamedTuple):
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    on_delivery: Callable[[Any, Any], None] | None


class Producer:
    """Stands for `confluent_kafka.Producer`. Without a transactional id, what is produced is sent
    when it is polled or flushed."""

    def __init__(self, process: "Process", config: Mapping[str, Any]) -> None:
        self.process = process
        self._broker = process.world.broker
        self._name: str | None = config.get("transactional.id")
        self._epoch = -1
        self._failure: KafkaError | None = None
        self._queues: dict[str, deque[_Queued]] = {}
        process.producers.append(self)

    @property
    def waiting(self) -> bool:
        """Whether it has something to send by itself."""
        return self._name is None and bool(self._queues)

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = 0,
        on_delivery: Callable[[Any, Any], None] | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        queued = _Queued(topic, partition, key, value, headers or {}, on_delivery)
        self._queues.setdefault(topic, deque()).append(queued)

    def produce_batch(
        self, topic: str, messages: list[dict[str, bytes | None]], partition: int
    ) -> int:
        for message in messages:
            self.produce(topic, message["value"], message["key"], partition)
        return len(messages)

    def poll(self, _timeout: float = 0) -> None:
        if self._name is None:
            self.flush(0)

    def purge(self) -> None:
        if self._queues and self._name is not None:
            self._failure = self._failure or PURGED
        self._queues.clear()

    def list_topics(self, timeout: float) -> None:
        self._reach("asks for topics", timeout)

    # -- without transactions -------------------------------------------------------------------

    def flush(self, timeout: float) -> int:
        """Send what is queued, one after the other. Confirmations may get lost."""
        world = self.process.world
        while self._queues:
            self.process.effect("sends")
            if self._broker.away:
                world.clock.sleep(timeout)
                if self._queues and world.happens("send fails"):
                    self._tell(self._next(), NOT_SENT)
                break
            if self._queues:
                queued = self._next()
                offset = self._write(queued)
                self._tell(queued, NOT_SENT if world.happens("answer lost") else None, offset)
        return len(self._queues)

    def _tell(self, queued: _Queued, error: KafkaError | None, offset: int = -1) -> None:
        """Without an offset where the broker had it already from a try without an answer."""
        if queued.on_delivery is not None:
            topic, partition, key, value, *_ = queued
            known = offset >= 0 and not self.process.world.happens("answer lost")
            at = offset if known else -1
            written = self._broker.log(topic, partition).entries[offset] if known else None
            timestamp_ms = 0 if written is None else written.timestamp_ms
            queued.on_delivery(error, Message(topic, partition, at, key, value, timestamp_ms))

    # -- with transactions ----------------------------------------------------------------------

    def init_transactions(self, timeout: float) -> None:
        assert self._name is not None
        self._reach("fences", timeout)
        self._epoch = self._broker.fence(self._name)
        self._failure = None
        self.process.effect("has fenced")

    def begin_transaction(self) -> None:
        self._check()

    def commit_transaction(self, timeout: float) -> None:
        self._send_all(timeout)
        self._reach("commits", timeout)
        self._check()
        self._end(commit=True)
        self.process.effect("has committed")
        if self.process.world.happens("answer lost"):
            raise KafkaException(TIMED_OUT)

    def abort_transaction(self, timeout: float) -> None:
        self._queues.clear()
        self._reach("aborts", timeout)
        if self._failure is not FENCED:
            self._failure = None
        self._check()
        self._end(commit=False)

    def _send_all(self, timeout: float) -> None:
        world = self.process.world
        while self._queues:
            # A partition keeps its order; between partitions there is none.
            topic = world.random.choice(list(self._queues))
            self._reach(f"sends {topic}", timeout)
            if world.happens("send fails"):
                self._failure = NOT_SENT
            self._check()
            for _ in range(world.random.randint(1, len(self._queues[topic]))):
                if topic in self._queues:
                    queued = self._next(topic)
                    self._delivered(queued, self._write(queued))

    def _delivered(self, queued: _Queued, offset: int) -> None:
        if queued.on_delivery is not None:
            queued.on_delivery(None, Message(queued.topic, queued.partition, offset))

    def _end(self, *, commit: bool) -> None:
        assert self._name is not None
        try:
            self._broker.end(self._name, self._epoch, commit=commit)
        except Stale:
            self._fenced()

    def _write(self, queued: _Queued) -> int:
        transaction = None
        if self._name is not None:
            try:
                transaction = self._broker.transaction(self._name, self._epoch)
            except Stale:
                self._fenced()
        topic, partition, key, value, headers, _ = queued
        return self._broker.write(topic, partition, key, value, headers, transaction)

    def _next(self, topic: str | None = None) -> _Queued:
        topic = next(iter(self._queues)) if topic is None else topic
        queue = self._queues[topic]
        queued = queue.popleft()
        if not queue:
            del self._queues[topic]
        return queued

    def _reach(self, what: str, timeout: float) -> None:
        self.process.effect(what)
        if self._broker.away:
            self.process.world.clock.sleep(min(timeout, 1))
            raise KafkaException(TIMED_OUT)

    def _check(self) -> None:
        if self._failure is not None:
            raise KafkaException(self._failure)

    def _fenced(self) -> None:
        self._failure = FENCED
        raise KafkaException(FENCED)


class Consumer:
    """Stands for `confluent_kafka.Consumer` with partitions assigned by hand."""

    def __init__(self, process: "Process", config: Mapping[str, Any]) -> None:
        self.process = process
        self._broker = process.world.broker
        self._committed = config.get("isolation.level") == "read_committed"
        self._positions: dict[tuple[str, int], int] = {}
        self._told: dict[tuple[str, int], int] = {}

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._positions = {(at.topic, at.partition): at.offset for at in partitions}
        self._told = {}

    def unassign(self) -> None:
        self.assign([])

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        self.process.effect("reads")
        if self._broker.away:
            self.process.world.clock.sleep(timeout)
            return []
        random = self.process.world.random
        if random.random() < 0.3:
            num_messages = min(num_messages, random.randint(1, 4))
        arrived: list[Message] = []
        for at in self._positions:
            arrived += self._read(at, max(0, num_messages - len(arrived)))
        if not arrived:
            self.process.rest(timeout)
        return arrived

    def _read(self, at: tuple[str, int], limit: int) -> list[Message]:
        log = self._broker.log(*at)
        found, reached = log.read(self._positions[at], limit, committed=self._committed)
        self._positions[at] = reached
        arrived = [
            Message(*at, offset, entry.key, entry.value, entry.timestamp_ms)
            for offset, entry in found
        ]
        if reached == self._end(at) and self._told.get(at) != reached:
            self._told[at] = reached
            arrived.append(Message(*at, reached, error=END))
        return arrived

    def get_watermark_offsets(self, at: TopicPartition, timeout: float) -> tuple[int, int]:
        self.process.effect("asks for offsets")
        if self._broker.away:
            self.process.world.clock.sleep(timeout)
            raise KafkaException(TIMED_OUT)
        return 0, self._end((at.topic, at.partition))

    def _end(self, at: tuple[str, int]) -> int:
        log = self._broker.log(*at)
        return log.stable if self._committed else log.end

    def close(self) -> None:
        self._positions = {}

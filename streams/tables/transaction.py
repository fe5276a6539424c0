"""One partition's transactional producer. Opening it fences whoever owned the partition before."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException, Producer

from schemas.limits import RECORD_BYTES_MAX
from streams.settings import KafkaConfig
from streams.tables.lane import Outbound
from streams.tables.overlay import Writes

log = structlog.get_logger()

ATTEMPT_S: Final = 10
"""How long one attempt to end a transaction may take before it is looked at again."""

QUEUED_RECORDS_MAX: Final = 100_000


class Fenced(Exception):
    """A newer owner of the partition exists, or the broker was away for longer than our patience.
    Nothing of the transaction is visible."""


class TransactionWriter:
    """Writes batches to one partition number of several topics, all or nothing.

    Every method blocks, and belongs in a thread. `abandon()` may come from any thread.
    """

    def __init__(
        self, kafka: KafkaConfig, transactional_id: str, partition: int, *, patience_s: int
    ) -> None:
        self._partition = partition
        self._patience_s = patience_s
        self._abandoned = False
        self._producer = Producer(
            {
                **kafka,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": patience_s * 1000,
                "delivery.timeout.ms": patience_s * 1000,
                "linger.ms": 0,
                "compression.type": "lz4",
                "message.max.bytes": RECORD_BYTES_MAX,
                "queue.buffering.max.messages": QUEUED_RECORDS_MAX,
            }
        )

    def open(self) -> None:
        """Fence the former owner and abort what it had open. Raises `KafkaException`."""
        # Without a connection, init_transactions waits for librdkafka's half-second timer.
        self._producer.list_topics(timeout=30)
        self._producer.init_transactions(60)

    def commit(self, rows: Mapping[str, Writes], outbound: Sequence[Outbound]) -> dict[str, int]:
        """Write rows (by changelog topic) and outbound records in one transaction.

        Returns the offset of the last row in each topic of `rows`. An outage of the broker is
        waited out. Raises `Fenced`; nothing was written then.
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                self._producer.begin_transaction()
                last = self._produce(rows, outbound)
                self._end(deadline)
                return last
            except KafkaException as exc:
                self._abort_or_give_up(exc, deadline)

    def abandon(self) -> None:
        """Give up waiting: the partition is no longer ours."""
        self._abandoned = True
        self._producer.purge()

    def _produce(self, rows: Mapping[str, Writes], outbound: Sequence[Outbound]) -> dict[str, int]:
        """Queue everything. The dict returned is filled as the broker confirms the last rows."""
        last: dict[str, int] = {}

        def confirmed(error: Any, message: Any) -> None:
            if error is None:
                last[message.topic()] = message.offset()

        for topic, writes in rows.items():
            messages = [{"key": key, "value": value} for key, value in writes.items()]
            # A partition keeps its order, so that the last row's offset is the highest.
            self._queue(topic, messages[:-1])
            self._one(Outbound(topic, messages[-1]["key"], messages[-1]["value"], {}), confirmed)
        plain: defaultdict[str, list[dict[str, bytes | None]]] = defaultdict(list)
        for record in outbound:
            if record.headers:
                self._one(record, None)
            else:
                plain[record.topic].append({"key": record.key, "value": record.value})
        for topic, messages in plain.items():
            self._queue(topic, messages)
        return last

    def _queue(self, topic: str, messages: list[dict[str, bytes | None]]) -> None:
        while messages:
            chunk, messages = messages[:QUEUED_RECORDS_MAX], messages[QUEUED_RECORDS_MAX:]
            taken = self._producer.produce_batch(topic, chunk, partition=self._partition)
            if taken < len(chunk):
                # The queue was full: what it did not take is marked, in order, behind what it did.
                messages = [
                    {"key": m["key"], "value": m["value"]} for m in chunk if "_error" in m
                ] + messages
                self._make_room()

    def _one(self, record: Outbound, confirmed: Any) -> None:
        while True:
            try:
                return self._producer.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=dict(record.headers),
                    partition=self._partition,
                    on_delivery=confirmed,
                )
            except BufferError:
                self._make_room()

    def _make_room(self) -> None:
        self._producer.poll(0.05)
        if self._abandoned:
            raise Fenced(f"partition {self._partition} was given up while it was written")

    def _end(self, deadline: float) -> None:
        while True:
            try:
                return self._producer.commit_transaction(ATTEMPT_S)
            except KafkaException as exc:
                if not exc.args[0].retriable() or self._over(deadline):
                    raise

    def _abort_or_give_up(self, exc: KafkaException, deadline: float) -> None:
        """Return when the transaction may be tried again, else raise `Fenced`."""
        error = exc.args[0]
        if error.txn_requires_abort() and not self._over(deadline):
            log.warning(
                "transaction aborted, tried again", partition=self._partition, why=str(error)
            )
            try:
                return self._producer.abort_transaction(ATTEMPT_S * 3)
            except KafkaException as again:
                error = again.args[0]
        raise Fenced(f"partition {self._partition}: {error.name()}: {error.str()}") from None

    def _over(self, deadline: float) -> bool:
        return self._abandoned or time.monotonic() > deadline

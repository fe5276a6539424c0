"""What Prometheus is told: one attribute a metric, one registry for each node in a process.

Counters say what this process has done since it started. What was folded or archived before, by it
or by another node, is not counted again; `rewindow verify` and `rewindow rebuild` count nothing.
Labels take few values: never a context id, nor anything else that a client may choose.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from schemas.events import LogEvent, MessageAppended
from streams.core.fold import Folded
from streams.core.outcome import Appended, RefusalCode, Refused, Undone
from streams.tables.lane import Lane

# Of every counter and histogram, the time when it was made: as many series again, for nobody.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

ROLES: Final = ("user", "assistant", "system", "tool", "developer")
OTHER: Final = "other"

TOKENS: Final = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000)
REQUEST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
FLUSH_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class Metrics:
    """May be used from any thread; `exposition` only from the loop that the lanes belong to."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lanes: Callable[[], Iterable[Lane]] = tuple
        ProcessCollector(registry=self.registry)
        self.registry.register(_Lanes(lambda: list(self._lanes())))
        self._of_requests()
        self._of_the_fold()
        self._of_the_archive()

    def _of_requests(self) -> None:
        self.requests = self._counter(
            "rewindow_requests", "HTTP requests answered, by route and status.", "route", "status"
        )
        self.append_duration = self._histogram(
            "rewindow_append_duration_seconds",
            "From an HTTP append's coming in to its answer, errors included.",
            REQUEST_S,
        )
        self.read_duration = self._histogram(
            "rewindow_read_duration_seconds",
            "From an HTTP read's coming in to the start of its answer, errors included.",
            REQUEST_S,
            "route",
        )
        self.refused = self._counter(
            "rewindow_refused",
            "Events that the fold refused, and requests that were answered with an error without "
            "asking it, each once, by the code of the error.",
            "reason",
        )
        self.stream_connections = self._gauge(
            "rewindow_stream_connections", "Live streams that are open: websockets and SSE."
        )

    def _of_the_fold(self) -> None:
        self.folded_events = self._counter("rewindow_folded_events", "Log events folded.")
        self.messages_append = self._counter(
            "rewindow_messages_append",
            "Messages accepted by the fold, by role; unusual roles are 'other'.",
            "role",
        )
        self.messages_token_count = self._histogram(
            "rewindow_messages_token_count", "Tokens of each message accepted.", TOKENS
        )
        self.messages_undone = self._counter(
            "rewindow_messages_undone", "Messages undone by the fold."
        )
        self.dead = self._counter(
            "rewindow_dead", "Records that could not be understood; they lie in rewindow.dead."
        )
        self.holes = self._counter(
            "rewindow_holes", "Offsets of the log that were passed over, proven to hold no event."
        )
        self.archive_trimmed = self._counter(
            "rewindow_archive_trimmed", "Messages that left the hot tail, being archived."
        )
        self.flush_duration = self._histogram(
            "rewindow_flush_duration_seconds",
            "From a batch's being folded to its being durable: transaction and RocksDB.",
            FLUSH_S,
        )
        self.fenced = self._counter(
            "rewindow_fenced", "Partitions lost to another owner while this node wrote to them."
        )
        self._roles = {role: self.messages_append.labels(role) for role in (*ROLES, OTHER)}
        self._refusals = {code: self.refused.labels(code) for code in get_args(RefusalCode)}

    def _of_the_archive(self) -> None:
        self.archive_pending_rows = self._gauge(
            "rewindow_archive_pending_rows", "Messages read from the facts, not yet in Postgres."
        )
        self.archive_pending_contexts = self._gauge(
            "rewindow_archive_pending_contexts", "Contexts that the pending messages belong to."
        )
        self.archive_flush_duration = self._histogram(
            "rewindow_archive_flush_duration_seconds",
            "One batch into Postgres, up to its commit.",
            FLUSH_S,
        )
        self.archive_attempted = self._counter(
            "rewindow_archive_attempted", "Messages in batches that Postgres committed."
        )
        self.archive_inserted = self._counter(
            "rewindow_archive_inserted", "Those of the attempted that were not there before."
        )
        self.archive_bytes_attempted = self._counter(
            "rewindow_archive_bytes_attempted", "Bytes of the bodies of the attempted messages."
        )
        self.archive_bytes_inserted = self._counter(
            "rewindow_archive_bytes_inserted", "Bytes of the bodies of the inserted messages."
        )
        self.archive_llm_token_count = self._gauge(
            "rewindow_archive_llm_token_count", "Tokens of the messages inserted since the start."
        )
        self.archive_holes = self._gauge(
            "rewindow_archive_holes", "Contexts of which the archive lacks messages; 0 is well."
        )
        self.archive_alarms = self._counter(
            "rewindow_archive_alarms",
            "Messages with another body in the archive ('differing'), and such as Postgres will "
            "never take ('refused'); 0 is well.",
            "kind",
        )
        self.archive_differing = self.archive_alarms.labels("differing")
        self.archive_refused = self.archive_alarms.labels("refused")

    # -- making them ----------------------------------------------------------------------------

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(name, help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(name, help_, registry=self.registry)

    def _histogram(
        self, name: str, help_: str, buckets: Collection[float], *labels: str
    ) -> Histogram:
        return Histogram(name, help_, labels, registry=self.registry, buckets=tuple(buckets))

    # -- moving them ----------------------------------------------------------------------------

    def watch(self, lanes: Callable[[], Iterable[Lane]]) -> None:
        """Where the lanes are whose tallies and positions are told."""
        self._lanes = lanes

    def folded(self, event: LogEvent, results: Iterable[Folded], trimmed: int) -> None:
        """An event was folded, and this many messages left the hot tail."""
        self.folded_events.inc()
        if trimmed:
            self.archive_trimmed.inc(trimmed)
        for folded in results:
            match folded.outcome:
                case Appended(replayed=False, token_counts=counts):
                    assert isinstance(event.data, MessageAppended)
                    for message, tokens in zip(event.data.messages, counts, strict=True):
                        self._roles.get(message.role, self._roles[OTHER]).inc()
                        self.messages_token_count.observe(tokens)
                case Undone(undone=undone, replayed=False):
                    self.messages_undone.inc(undone)
                case Refused(code=code):
                    self._refusals[code].inc()

    def exposition(self) -> bytes:
        """All of it as text, of the type `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class _Lanes(Collector):
    """What the lanes know of themselves; asked for when somebody looks."""

    def __init__(self, lanes: Callable[[], list[Lane]]) -> None:
        self._lanes = lanes

    def collect(self) -> Iterator[Metric]:
        """One metric after the other."""
        lanes = self._lanes()
        behind = GaugeMetricFamily(
            "rewindow_fold_lag_events",
            "Offsets of the log that are not folded yet, by partition, of those on this node.",
            labels=["partition"],
        )
        for lane in lanes:
            behind.add_metric([str(lane.partition)], max(0, lane.end - lane.next))
        yield behind
        yield GaugeMetricFamily(
            "rewindow_contexts",
            "Contexts on this node, tombstoned ones included.",
            sum(lane.tally.contexts for lane in lanes),
        )
        yield GaugeMetricFamily(
            "rewindow_archive_tail_size",
            "Messages in the hot tail on this node.",
            sum(lane.tally.hot for lane in lanes),
        )
        yield GaugeMetricFamily(
            "rewindow_archive_lag",
            "Messages accepted and not yet known to be archived, on this node.",
            sum(lane.tally.unarchived for lane in lanes),
        )

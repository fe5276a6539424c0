"""Traces: from an HTTP request through the log to the fold, told to OpenTelemetry.

Without a tracer `on` is False, and nobody asks for more. A span's place in its trace goes from hand
to hand as a `traceparent`, in the event's trail, so that no context has to be carried by the loop.
Attributes never hold a context id: it may name a person.
"""

from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.codec import type_of
from schemas.events import LogEvent
from streams.tables.record import Record

_propagator = TraceContextTextMapPropagator()


class Tracing:
    """Spans, begun here and ended by whoever gets them."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.on = tracer is not None
        self._tracer = NoOpTracer() if tracer is None else tracer

    def served(self, method: str, traceparent: str | None) -> Span:
        """An HTTP request; it gets its name when its route is known."""
        return self._tracer.start_span(
            method,
            _under(traceparent),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
        )

    def published(self, topic: str, partition: int, event: LogEvent) -> Span:
        """An event is handed over to the producer of the log."""
        return self._tracer.start_span(
            f"{topic} publish",
            _under(event.trail.traceparent),
            kind=SpanKind.PRODUCER,
            attributes={
                "rewindow.partition": partition,
                "rewindow.event_type": type_of(event.data),
            },
        )

    def folded(self, topic: str, record: Record, event: LogEvent, began_ns: int) -> None:
        """An event was folded just now. One that is part of no trace begins none: the log may hold
        millions of them."""
        if event.trail.traceparent is None:
            return
        self._tracer.start_span(
            f"{topic} process",
            _under(event.trail.traceparent),
            kind=SpanKind.CONSUMER,
            attributes={
                "rewindow.partition": record.partition,
                "rewindow.offset": record.offset,
                "rewindow.event_type": type_of(event.data),
            },
            start_time=began_ns,
        ).end()


TRACING_OFF: Final = Tracing()


def traceparent_of(span: Span) -> str:
    """The span's place, as W3C Trace Context writes it."""
    at = span.get_span_context()
    return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"


def _under(traceparent: str | None) -> Context:
    """What a span begins under; an empty one where a trace begins."""
    if traceparent is None:
        return Context()
    return _propagator.extract({"traceparent": traceparent}, Context())

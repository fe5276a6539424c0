"""Traces out of this process: set up where the environment says where to, and off otherwise."""

import os
from collections.abc import Callable
from typing import NamedTuple

from rewindow.errors import CannotStart
from streams.tracing import TRACING_OFF, Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables; its exporter reads them, and every other OTEL_* one, by itself."""


class Traces(NamedTuple):
    """`close` sends what is left; it blocks."""

    tracing: Tracing
    close: Callable[[], None]


def traces_of_environment() -> Traces:
    """Over OTLP (HTTP, protobuf), with `service.name` rewindow unless OTEL_SERVICE_NAME says else.

    Raises `CannotStart` where the extra `otel` is not installed.
    """
    told = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if told is None:
        return Traces(TRACING_OFF, lambda: None)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise CannotStart(
            f"{told} is set, but OpenTelemetry is not installed: install rewindow[otel]"
        ) from None
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "rewindow"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(Tracing(provider.get_tracer("rewindow")), provider.shutdown)

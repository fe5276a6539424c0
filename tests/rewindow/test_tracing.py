"""Traces leave the process where the environment says where to, and nowhere else."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from rewindow.errors import CannotStart
from rewindow.tracing import ENDPOINTS, traces_of_environment
from streams.tracing import TRACING_OFF


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENDPOINTS, "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def collector(taken: list[tuple[str, bytes]]) -> Iterator[str]:
    """Takes what is sent to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_said: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_without_an_endpoint_there_are_no_traces() -> None:
    traces = traces_of_environment()
    assert traces.tracing is TRACING_OFF
    assert not traces.tracing.on
    traces.close()


@pytest.mark.parametrize("service", [None, "another-name"])
def test_spans_go_to_the_endpoint_at_the_latest_when_it_is_closed(
    service: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, bytes]] = []
    with collector(taken) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        if service is not None:
            monkeypatch.setenv("OTEL_SERVICE_NAME", service)
        traces = traces_of_environment()
        assert traces.tracing.on
        traces.tracing.served("GET", None).end()
        traces.close()
    ((path, body),) = taken
    assert path == "/v1/traces"
    assert b"http.request.method" in body
    assert (service or "rewindow").encode() in body


def test_where_opentelemetry_is_not_installed_the_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(CannotStart, match=r"OTEL_EXPORTER_OTLP_ENDPOINT.*rewindow\[otel\]"):
        traces_of_environment()

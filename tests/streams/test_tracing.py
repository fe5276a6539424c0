"""One trace from HTTP through the log to the fold; the ids on the way, whoever records spans."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from api.app import make_api
from streams import encodings
from streams.tracing import Tracing
from tests.support.contexts import Context, said
from tests.support.deployment import Deployment
from tests.support.fold import append
from tests.support.node import folded, running_streams
from tests.support.wait import until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
PATH = "/v1/contexts/{id}"


class Traced:
    """A node whose spans are kept in memory, and its API."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider.get_tracer("test"))

    async def start(self, stack: AsyncExitStack) -> None:
        self.streams = await stack.enter_async_context(
            running_streams(self.deployment.prepare(), self.tracing)
        )
        app = make_api(self.streams.contexts, encodings.measure, tracing=self.tracing)
        transport = httpx.ASGITransport(app)
        self.client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://node")
        )

    async def spans(self, count: int) -> list[ReadableSpan]:
        """So many spans, once they have ended, in the order of their beginning; then none."""

        async def ended() -> bool:
            return len(self._exporter.get_finished_spans()) >= count

        await until_async(ended, f"{count} spans have ended")
        found = sorted(self._exporter.get_finished_spans(), key=lambda s: s.start_time or 0)
        self._exporter.clear()
        assert len(found) == count, [span.name for span in found]
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traced]:
    name = tmp_path_factory.getbasetemp().name
    async with AsyncExitStack() as stack:
        traced = Traced(
            Deployment(kafka, f"{name}-tracing", tmp_path_factory.mktemp("tracing"), partitions=1)
        )
        await traced.start(stack)
        yield traced


def traceparent(flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-{flags}"}


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Trace, span and parent."""
    at, parent = span.get_span_context(), span.parent
    assert at is not None
    return (
        f"{at.trace_id:032x}",
        f"{at.span_id:016x}",
        "" if parent is None else f"{parent.span_id:016x}",
    )


async def test_one_trace_from_http_to_the_fold(node: Traced) -> None:
    context = Context(node.client, "a person's name")
    await context.put()
    await node.spans(3)
    headers = traceparent() | {"X-Request-Id": "r-1"}
    assert (await context.post({"message": said("hello")}, headers=headers)).status_code == 201

    server, producer, consumer = await node.spans(3)
    trace_ids, (server_id, producer_id, _), parents = zip(
        *map(ids, (server, producer, consumer)), strict=True
    )
    assert set(trace_ids) == {TRACE_ID}
    assert parents == (PARENT_ID, server_id, producer_id)
    kinds = [span.kind for span in (server, producer, consumer)]
    assert kinds == [SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER]
    topic = node.deployment.topics.log
    assert server.name == f"POST {PATH}/messages"
    assert (producer.name, consumer.name) == (f"{topic} publish", f"{topic} process")
    assert dict(server.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": f"{PATH}/messages",
        "http.response.status_code": 201,
    }
    last = node.deployment.read(topic)[-1]
    assert dict(consumer.attributes or {}) == {
        "rewindow.partition": 0,
        "rewindow.offset": last.offset(),
        "rewindow.event_type": "message.appended.v1",
    }
    for span in (server, producer, consumer):
        assert "person" not in span.to_json()

    await folded(node.streams, node.deployment)
    on_the_way = f"00-{TRACE_ID}-{producer_id}-01"
    facts = node.deployment.read(node.deployment.topics.facts)
    for record in (last, facts[-1]):
        written = json.loads(record.value())
        assert (written["requestid"], written["traceparent"]) == ("r-1", on_the_way)


async def test_without_a_parent_each_request_is_a_trace_of_its_own(node: Traced) -> None:
    context = Context(node.client, "alone")
    await context.put()
    put = await node.spans(3)
    await context.get()
    (get,) = await node.spans(1)
    trace_ids = {ids(span)[0] for span in put}
    assert len(trace_ids) == 1
    assert ids(put[0])[2] == ""
    assert ids(get)[0] not in trace_ids
    assert get.name == f"GET {PATH}"


async def test_a_trace_that_nobody_records_goes_on_all_the_same(node: Traced) -> None:
    context = Context(node.client, "unsampled")
    answer = await context.put(headers=traceparent("00"))
    assert answer.status_code == 201
    await folded(node.streams, node.deployment)
    await node.spans(0)
    written = json.loads(node.deployment.read(node.deployment.topics.log)[-1].value())
    assert re.fullmatch(f"00-{TRACE_ID}-[0-9a-f]{{16}}-00", written["traceparent"])


async def test_events_of_no_trace_begin_none(node: Traced) -> None:
    node.deployment.write(append(context="foreign"))
    await folded(node.streams, node.deployment)
    await node.spans(0)


async def test_errors_are_on_the_span_and_health_has_none(node: Traced) -> None:
    for url in ("/health/live", "/metrics", "/nothing"):
        await node.client.get(url)
    await node.client.get("/v1/contexts/nobody")
    await node.client.get("/v1/nothing")
    refused, unrouted = await node.spans(2)
    assert (refused.attributes or {})["error.type"] == "not_found"
    assert (refused.attributes or {})["http.response.status_code"] == 404
    assert refused.status.status_code is not StatusCode.ERROR, "the client's fault is not ours"
    assert unrouted.name == "GET"

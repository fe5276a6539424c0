"""The contract is asked of an API over memory and of a live node. Every test takes a context of its
own, so that a node can be asked again."""

import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from api.app import make_api
from streams import encodings
from tests.support.contexts import Context
from tests.support.live_node import LiveNode, live_node
from tests.support.memory_store import MemoryStore


@pytest.fixture(scope="package")
def node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("contract"), kafka, postgres_url) as node:
        yield node


@pytest.fixture(params=["memory", "node"])
def base_url(request: pytest.FixtureRequest) -> str | None:
    """The node to ask; None for an API over memory."""
    return None if request.param == "memory" else request.getfixturevalue("node").url


@pytest.fixture
async def client(base_url: str | None) -> AsyncIterator[httpx.AsyncClient]:
    transport: httpx.AsyncBaseTransport = (
        httpx.ASGITransport(make_api(MemoryStore(encodings.measure), encodings.measure))
        if base_url is None
        # Certificates that nobody asks for take longer to load than most of these tests.
        else httpx.AsyncHTTPTransport(verify=False)
    )
    async with httpx.AsyncClient(
        transport=transport, base_url=base_url or "http://memory", timeout=30
    ) as client:
        yield client


@pytest.fixture
def unknown(client: httpx.AsyncClient) -> Context:
    """A context that nobody has made."""
    return Context(client, f"contract {uuid.uuid4().hex}")


@pytest.fixture
async def context(unknown: Context) -> Context:
    """A context with the default settings and no message."""
    answer = await unknown.put()
    assert answer.status_code == 201
    return unknown

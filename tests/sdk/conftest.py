"""Clients of both kinds, of a live node. Every test takes a context of its own."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.sdk.doors import Door, opened
from tests.support.live_node import LiveNode, live_node


@pytest.fixture(scope="package")
def node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    """Its tail is so short that the archive has its part in most things."""
    folder = tmp_path_factory.mktemp("sdk")
    with live_node(folder, kafka, postgres_url, tail_keep="5") as node:
        yield node


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(kind: str, node: LiveNode) -> AsyncIterator[Door]:
    async with opened(kind, node.url) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A context that nobody has made, with an id that has to be encoded."""
    return f"sdk/{uuid.uuid4().hex} ü?%".replace("/", ":")


@pytest.fixture
async def context(client: Door, name: str) -> Door:
    """One that is there, whose window holds all that is said."""
    context = client.context(name)
    await context.configure(token_budget=1_000_000, policy={"strategy": "manual"})
    return context

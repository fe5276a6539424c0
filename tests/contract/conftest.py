"""The contract is asked of an API over memory, or of a live node: set REWINDOW_CONTRACT_URL, or
override `base_url`. Every test takes a context of its own, so that a node can be asked again."""

import os
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import make_api
from streams import encodings
from tests.support.contexts import Context
from tests.support.memory_store import MemoryStore


@pytest.fixture
def base_url() -> str | None:
    """The node to ask; None for an API over memory."""
    return os.environ.get("REWINDOW_CONTRACT_URL")


@pytest.fixture
async def client(base_url: str | None) -> AsyncIterator[httpx.AsyncClient]:
    transport: httpx.AsyncBaseTransport = (
        httpx.ASGITransport(make_api(MemoryStore(encodings.measure), encodings.measure))
        if base_url is None
        else httpx.AsyncHTTPTransport()
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

"""An API over a store in memory, whose faults the tests choose."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from api.app import make_api
from streams.core.tokens import Measure, approximate
from tests.support.contexts import Context
from tests.support.memory_store import MemoryStore


def four_bytes_a_token(_encoding: str) -> Measure:
    """Every encoding, without a vocabulary."""
    return approximate


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(four_bytes_a_token)


@pytest.fixture
def app(store: MemoryStore) -> FastAPI:
    return make_api(store, four_bytes_a_token)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://memory"
    ) as client:
        yield client


@pytest.fixture
async def context(client: httpx.AsyncClient) -> Context:
    context = Context(client, "c")
    await context.put()
    return context

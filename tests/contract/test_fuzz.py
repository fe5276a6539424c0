"""Schemathesis asks every operation of the document, rightly and wrongly, and finds nothing."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from schemathesis.python.asgi import get_client

from api.app import make_api
from api.live import LiveRules
from api.openapi.document import openapi
from api.routes import window
from schemas.limits import CONTEXT_ID_BYTES_MAX
from streams.core.tokens import Measure, approximate
from tests.support.contracts import closed
from tests.support.memory_store import MemoryStore

CONFIG = schemathesis.Config.from_dict(
    {
        # A stream goes on for ever.
        "max-stream-events": 3,
        "request-timeout": 2,
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", "409"]},
            "negative_data_rejection": {"expected-statuses": ["400", "404"]},
        },
        "operations": [
            {
                # `min_version` may not come about.
                "include-operation-id": "readWindow",
                "checks": {
                    "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503"]},
                    "positive_data_acceptance": {"expected-statuses": ["2xx", "409", "503"]},
                },
            }
        ],
    }
)


def four_bytes_a_token(_encoding: str) -> Measure:
    return approximate


class Fresh:
    """An API without a past, again and again: what one request did is nothing to the next one."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._api = make_api(
            MemoryStore(four_bytes_a_token), four_bytes_a_token, live=LiveRules(ping_s=0.01)
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._api(scope, receive, send)


app = Fresh()
schema = schemathesis.openapi.from_dict(closed(openapi(), ("components", "schemas")), config=CONFIG)
schema.app = app


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most versions that a fuzzer asks for never come about."""
    monkeypatch.setattr(window, "MIN_VERSION_WAIT_S", 0.001)


def put(path: str) -> None:
    """Make the context that a path names, so that there is something to ask for."""
    with get_client(app) as client:
        client.put("/".join(path.split("/")[:4]))


def whole_numbers(value: Any) -> Any:
    """1.0 is an integer to JSON Schema; here a whole number is written as one."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [whole_numbers(item) for item in value]
        case dict():
            return {name: whole_numbers(item) for name, item in value.items()}
        case _:
            return value


def correct(case: schemathesis.Case) -> None:
    """Heed, in a request that is meant to be right, what no document can say."""
    assume(len(case.formatted_path.encode()) <= CONTEXT_ID_BYTES_MAX)
    if not isinstance(case.body, NotSet):
        case.body = whole_numbers(case.body)
    if {"from_seq", "before_seq"} <= case.query.keys():
        del case.query["before_seq"]


# Schemathesis speaks no websocket.
@schema.exclude(operation_id="followByWebsocket").parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation(case: schemathesis.Case) -> None:
    if case.meta.generation.mode is GenerationMode.POSITIVE:
        correct(case)
    app.begin()
    if case.method != "PUT":
        put(case.formatted_path)
    case.call_and_validate()

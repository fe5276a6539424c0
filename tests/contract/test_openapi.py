"""The OpenAPI document lists what the application serves, no more and no less."""

import json
from typing import Any

import httpx
import pytest
from starlette.routing import Route, WebSocketRoute

from api.app import make_api
from api.openapi.document import openapi
from api.problems import STATUS
from rewindow.contracts import FOLDER
from streams.core.tokens import Measure, approximate
from tests.support.contracts import references, resolved
from tests.support.memory_store import MemoryStore

DOCUMENT = openapi()
OPERATIONS = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def four_bytes_a_token(_encoding: str) -> Measure:
    return approximate


def served() -> set[tuple[str, str]]:
    """Methods and paths; HEAD goes without saying."""
    found = set()
    for route in make_api(MemoryStore(four_bytes_a_token), four_bytes_a_token).router.routes:
        if isinstance(route, WebSocketRoute):
            found.add(("get", route.path))
        elif isinstance(route, Route):
            found |= {(method.lower(), route.path) for method in route.methods - {"HEAD"}}
    return found


def responses(operation: dict[str, Any]) -> dict[str, Any]:
    """By status, whether they stand there or elsewhere."""
    return {
        status: resolved(DOCUMENT, response["$ref"]) if "$ref" in response else response
        for status, response in operation["responses"].items()
    }


def codes(schema: dict[str, Any]) -> set[str]:
    """The error codes that a schema of refusals allows."""
    if "oneOf" in schema:
        return set().union(*map(codes, schema["oneOf"]))
    return {resolved(DOCUMENT, schema["$ref"])["properties"]["error"]["const"]}


def test_what_is_listed_is_what_is_served() -> None:
    assert {(method, path) for method, path, _ in OPERATIONS} == served()


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_every_error_has_its_status_and_every_status_its_errors() -> None:
    listed: set[str] = set()
    for _, _, operation in OPERATIONS:
        for status, response in responses(operation).items():
            if int(status) >= 400:
                found = codes(response["content"]["application/json"]["schema"])
                assert {str(int(STATUS[code])) for code in found} == {status}
                listed |= found
    # What is not offered has no operation.
    assert listed == STATUS.keys() - {"method_not_allowed"}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_answer_lists_its_headers(method: str, path: str, operation: dict[str, Any]) -> None:
    for status, response in responses(operation).items():
        headers = response["headers"].keys()
        assert "X-Request-Id" in headers
        assert ("Retry-After" in headers) == (status in ("429", "503"))
        assert ("WWW-Authenticate" in headers) == (status == "401")
        assert ("Idempotency-Key" in headers) == (method != "get")


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        assert resolved(DOCUMENT, reference)


async def test_it_is_served_as_it_is_committed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads((FOLDER / "openapi.json").read_text())

"""Paths and methods that are not there, and health."""

import httpx
import pytest

from tests.support.contexts import Context, is_problem

ALLOWED = {
    "": {"GET", "HEAD", "PUT", "DELETE"},
    "/messages": {"GET", "HEAD", "POST"},
    "/tail": {"GET", "HEAD"},
    "/context": {"GET", "HEAD"},
    "/compact": {"POST"},
    "/metadata": {"PATCH"},
}


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/contexts/a", "/v1/contexts/a/b", "/docs"])
async def test_an_unknown_path_is_not_found_in_our_shape(
    client: httpx.AsyncClient, path: str
) -> None:
    for method in ("GET", "POST", "DELETE"):
        is_problem(await client.request(method, path), 404, "not_found")


@pytest.mark.parametrize("noun", ALLOWED)
async def test_another_method_is_refused_and_told_what_there_is(
    client: httpx.AsyncClient, noun: str
) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - ALLOWED[noun]:
        answer = await client.request(method, f"/v1/contexts/a{noun}")
        is_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(", ")) == ALLOWED[noun]


async def test_head_answers_as_get(context: Context) -> None:
    for noun in ("", "/tail", "/messages", "/context"):
        assert (await context.client.head(f"{context.path}{noun}")).status_code == 200


async def test_live(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json().keys() == {"status", "notes"}
    assert answer.json()["status"] == "ready"

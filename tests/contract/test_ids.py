"""What a context may be called, and how its name travels in a path."""

import uuid

import httpx
import pytest

from tests.support.contexts import Context, is_problem, said

NAMES = [
    "plain",
    "with space",
    "100%",
    "%2F is text",
    "what?",
    "#one",
    "a:b@c;d=e&f+g,h",
    "Grüße, мир, 世界 🙂",
    'back\\slash "quotes" <tags> {braces} |',
    "...",
    "~tilde'",
]


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_works_on_every_route(client: httpx.AsyncClient, name: str) -> None:
    context = Context(client, f"{name}{uuid.uuid4().hex}")
    assert (await context.put()).json()["id"] == context.id
    assert (await context.post({"message": said("a")})).status_code == 201
    assert (await context.get())["id"] == context.id
    for noun in ("tail", "messages", "context"):
        assert len((await context.read(noun)).json()["messages"]) == 1
    assert (await context.patch({"metadata": {"a": 1}})).json()["id"] == context.id
    assert (await context.compact({"replacement": []})).status_code == 200
    assert (await context.delete()).status_code == 204


async def test_lower_case_escapes_and_needless_ones_name_the_same_context(
    client: httpx.AsyncClient,
) -> None:
    mark = uuid.uuid4().hex
    context = Context(client, f"é{mark}")
    await context.put()
    escaped = "".join(f"%{byte:02x}" for byte in context.id.encode())
    assert (await client.get(f"/v1/contexts/{escaped}")).json()["id"] == context.id


async def test_512_bytes_fit_and_513_do_not(client: httpx.AsyncClient) -> None:
    mark = uuid.uuid4().hex
    assert (await Context(client, mark + "é" * 240).put()).status_code == 201
    answer = await Context(client, mark + "é" * 240 + "a").put()
    assert "513" in is_problem(answer, 400, "invalid_request", "id")["message"]


@pytest.mark.parametrize("escaped", ["a%2Fb", "a%2fb", "%00", "a%0Ab", "%7F", "%C2%85"])
async def test_slashes_and_control_characters_are_refused(
    client: httpx.AsyncClient, escaped: str
) -> None:
    for answer in (
        await client.put(f"/v1/contexts/{escaped}"),
        await client.get(f"/v1/contexts/{escaped}"),
        await client.get(f"/v1/contexts/{escaped}/tail"),
        await client.post(f"/v1/contexts/{escaped}/messages", json={"message": said("a")}),
    ):
        is_problem(answer, 400, "invalid_request", "id")


@pytest.mark.parametrize("escaped", ["%FF", "%C3", "a%ED%A0%80", "%C0%AF"])
async def test_what_is_not_utf_8_is_refused(client: httpx.AsyncClient, escaped: str) -> None:
    is_problem(await client.put(f"/v1/contexts/{escaped}"), 400, "invalid_request", "id")


@pytest.mark.parametrize("path", ["/v1/contexts/", "/v1/contexts//messages", "/v1/contexts/a/"])
async def test_there_is_no_empty_name(client: httpx.AsyncClient, path: str) -> None:
    is_problem(await client.get(path), 404, "not_found")

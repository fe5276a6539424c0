"""Any bytes and any JSON at every route: a clear refusal, never a 500."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.contexts import Context, is_problem, said

ROUTES = [
    ("PUT", ""),
    ("GET", ""),
    ("POST", "/messages"),
    ("GET", "/messages"),
    ("GET", "/tail"),
    ("GET", "/context"),
    ("POST", "/compact"),
    ("PATCH", "/metadata"),
]
NAMES = ["limit", "offset", "from_seq", "before_seq", "budget_tokens", "if_version"]

relaxed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**130)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["", "user", "text", "tool", "last_n", "skip_parts", "manual", "approximate"])
)
field_names = st.text(max_size=5) | st.sampled_from(
    [
        "message",
        "messages",
        "replacement",
        "metadata",
        "if_version",
        "role",
        "parts",
        "type",
        "text",
        "token_count",
        "id",
        "seq",
        "token_budget",
        "trigger_ratio",
        "encoding",
        "policy",
        "strategy",
        "config",
        "limit",
        "skip_kinds",
    ]
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(field_names, inner, max_size=4),
    max_leaves=20,
)
parts = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "tool"])}, optional={"text": values}),
    min_size=1,
    max_size=3,
)
messages = st.fixed_dictionaries(
    {"role": st.text(min_size=1, max_size=5), "parts": parts | values},
    optional=dict.fromkeys(("token_count", "metadata", "id", "seq", "more"), values),
)
almost_right = st.fixed_dictionaries(
    {},
    optional={
        "message": messages,
        "messages": st.lists(messages, max_size=3),
        "replacement": st.lists(messages, max_size=3),
        "metadata": st.dictionaries(field_names, values, max_size=3),
        "if_version": st.none() | st.integers(0, 3),
    },
)
bodies = (
    st.binary(max_size=200)
    | values.map(lambda value: json.dumps(value).encode())
    | almost_right.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    | st.tuples(
        almost_right.map(lambda value: json.dumps(value).encode()), st.integers(0, 300)
    ).map(lambda cut: cut[0][: cut[1]])
)


def holds(answer: httpx.Response) -> None:
    """An answer of ours: fine, or a refusal in our shape that is no bug of ours."""
    if answer.status_code < 400:
        return
    assert answer.status_code < 500, answer.text
    assert answer.json().keys() >= {"error", "message"}
    assert "detail" not in answer.json()


@pytest.mark.parametrize(("method", "noun"), ROUTES)
@relaxed
@given(body=bodies)
async def test_any_body(context: Context, method: str, noun: str, body: bytes) -> None:
    holds(await context.client.request(method, f"{context.path}{noun}", content=body))
    holds(await context.read("context"))


@pytest.mark.parametrize("noun", ["/messages", "/tail", "/context"])
@relaxed
@given(
    query=st.lists(st.tuples(st.sampled_from(NAMES) | st.text(), scalars.map(str)), max_size=3),
)
async def test_any_query(context: Context, noun: str, query: list[tuple[str, Any]]) -> None:
    clean = [
        (name.encode(errors="replace").decode(), value.encode(errors="replace").decode())
        for name, value in query
    ]
    holds(await context.client.get(f"{context.path}{noun}", params=clean))


@relaxed
@given(name=st.binary(min_size=1, max_size=40), key=st.binary(max_size=30))
async def test_any_name_and_any_key(client: httpx.AsyncClient, name: bytes, key: bytes) -> None:
    escaped = "".join(f"%{byte:02X}" for byte in name)
    visible = bytes(byte for byte in key if byte > 0x20 and byte != 0x7F)
    path = f"/v1/contexts/{escaped}"
    for answer in (
        await client.put(path, headers=[(b"Idempotency-Key", visible)]),
        await client.post(f"{path}/messages", json={"message": said("a")}),
        await client.get(f"{path}/context"),
    ):
        holds(answer)


WRITES = [route for route in ROUTES if route[0] != "GET"]
APPEND, CONFIGURE = ("POST", "/messages"), ("PUT", "")


@pytest.mark.parametrize(
    ("routes", "body", "why"),
    [
        ([route for route in WRITES if route != CONFIGURE], b"", "empty"),
        (WRITES, b"{", "ends too early"),
        (WRITES, b"nonsense", "byte 4"),
        (WRITES, b"\xff\xfe{}", "UTF-8 at byte 0"),
        (WRITES, b'{"message":"\xe9"}', "UTF-8 at byte 12"),
        (WRITES, b"\xef\xbb\xbf{}", "byte 0"),
        (WRITES, b"[]", "object"),
        (WRITES, b"null", "object"),
        (WRITES, b'"message"', "object"),
        (WRITES, b'{"metadata":%b}' % (b'{"a":' * 200 + b"1" + b"}" * 200), "128 levels"),
        (WRITES, b'{"metadata":%b}' % (b"[" * 100_000), "128 levels"),
        ([APPEND], b'{"message":}', "byte 11"),
        ([APPEND], b'{"message":null} x', "trailing"),
        ([CONFIGURE], b'{"metadata":{"a":NaN}}', "byte 17"),
        ([CONFIGURE], b'{"metadata":{"a":Infinity}}', "byte 17"),
        ([CONFIGURE], b'{"metadata":{"a":-Infinity}}', "byte 18"),
        ([CONFIGURE], b'{"metadata":{"a":"\\ud800"}}', "Unicode"),
    ],
)
async def test_what_is_not_json_is_refused_with_what_and_where(
    context: Context, routes: list[tuple[str, str]], body: bytes, why: str
) -> None:
    for method, noun in routes:
        answer = await context.client.request(method, f"{context.path}{noun}", content=body)
        assert why in is_problem(answer, 400, "invalid_request")["message"]


async def test_nesting_within_the_limit_is_kept(context: Context) -> None:
    deep = "[" * 120 + "]" * 120
    body = b'{"metadata":{"deep":%b}}' % deep.encode()
    answer = await context.client.patch(f"{context.path}/metadata", content=body)
    assert answer.status_code == 200
    assert deep in answer.text


async def test_another_content_type_is_tolerated(context: Context) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "junk"):
        answer = await context.client.patch(
            f"{context.path}/metadata",
            content=b'{"metadata":{}}',
            headers={"Content-Type": kind},
        )
        assert answer.status_code == 200


async def test_what_comes_back_is_short_however_long_the_fault_is(context: Context) -> None:
    name = "long " * 100_000
    answer = await context.put({name: 1})
    assert "long" in is_problem(answer, 400, "invalid_request")["field"]
    assert len(answer.content) < 1500

"""A corpus of nasty input, each with its expected code: what can't be kept is refused, and what is
kept comes back to the letter. (Bytes on the wire are in `test_wire.py`.)"""

import gzip
import json
import uuid
from typing import Any

import httpx
import psycopg
import pytest

from schemas.limits import NESTING_LEVELS_MAX
from tests.support.contexts import Context, is_problem
from tests.support.live_node import LiveNode
from tests.support.wait import until_async

Write = tuple[str, str, bytes]

OK, CREATED, BAD, CONFLICT, TOO_LARGE = 200, 201, 400, 409, 413
CODES = {BAD: "invalid_request", CONFLICT: "conflict", TOO_LARGE: "too_large"}
DIGITS = b"9" * 100_000
BEYOND_64_BITS = b"18446744073709551616"


def part(value: bytes) -> Write:
    """An append with a value somewhere in a part."""
    return append(b'{"type":"text","value":%b}' % value)


def append(parts: bytes, more: bytes = b"") -> Write:
    """An append with such parts, and more fields of its message."""
    body = b'{"message":{"role":"user","parts":[%b]%b}}' % (parts, more)
    return "POST", "/messages", body


def said(body: bytes) -> Write:
    return "POST", "/messages", body


def settings(body: bytes) -> Write:
    return "PUT", "", body


def nested(levels: int) -> bytes:
    """Lists and objects in turns."""
    opened = b'[{"a":' * (levels // 2) + b"[" * (levels % 2)
    return opened + b"1" * (levels % 2 == 0) + b"]" * (levels % 2) + b"}]" * (levels // 2)


MESSAGE = b'{"role":"user","parts":[{"type":"text"}]}'

REFUSED: dict[str, tuple[int, Write]] = {
    # -- what is no JSON
    "minus NaN": (BAD, part(b"-NaN")),
    "a plus sign": (BAD, part(b"+1")),
    "a leading zero": (BAD, part(b"01")),
    "no digit before the point": (BAD, part(b".5")),
    "no digit behind the point": (BAD, part(b"1.")),
    "no exponent": (BAD, part(b"1e")),
    "hex": (BAD, part(b"0x10")),
    "a trailing comma": (BAD, part(b"[1,]")),
    "single quotes": (BAD, part(b"'a'")),
    "a comment": (BAD, part(b"1/* one */")),
    "a name without quotes": (BAD, part(b"{a:1}")),
    "Python's True": (BAD, part(b"True")),
    "a line feed in a string": (BAD, part(b'"a\nb"')),
    "NUL in a string": (BAD, part(b'"a\0b"')),
    "an escape that is none": (BAD, part(rb'"\x41"')),
    "an escape with a sign": (BAD, part(rb'"\u+041"')),
    "NUL behind the end": (BAD, said(b'{"message":%b}\0' % MESSAGE)),
    "two documents": (BAD, said(b'{"message":%b}\n{"message":%b}' % (MESSAGE, MESSAGE))),
    "a vertical tab in front": (BAD, said(b'\x0b{"message":%b}' % MESSAGE)),
    "a no-break space in front": (BAD, said('\u00a0{"message":{}}'.encode())),
    # -- what is no Unicode
    "half a pair, the low one": (BAD, part(rb'"\udc00"')),
    "a pair the wrong way round": (BAD, part(rb'"\udc00\ud800"')),
    "half a pair twice": (BAD, part(rb'"\ud800\ud800"')),
    "half a pair as a name": (BAD, part(rb'{"\udc00":1}')),
    "half a pair as a type": (BAD, append(rb'{"type":"\udc00"}')),
    "half a pair as a role": (BAD, said(rb'{"message":{"role":"\udc00","parts":[{"type":"t"}]}}')),
    "half a pair as an id": (BAD, append(b'{"type":"t"}', rb',"id":"\ud800"')),
    "half a pair in metadata": (BAD, settings(rb'{"metadata":{"\udc00":1}}')),
    "half a pair in a patch": (BAD, ("PATCH", "/metadata", rb'{"metadata":{"a":"\udc00"}}')),
    "a pair in bytes": (BAD, part(b'"\xed\xa0\xbd\xed\xb8\x80"')),
    "NUL in two bytes": (BAD, part(b'"\xc0\x80"')),
    "beyond the last character": (BAD, part(b'"\xf4\x90\x80\x80"')),
    "a character cut off": (BAD, part(b'"\xf0\x9f\x98"')),
    # -- numbers
    "a count of 2^63": (BAD, append(b'{"type":"t"}', b',"token_count":9223372036854775808')),
    "a count of 2^64": (BAD, append(b'{"type":"t"}', b',"token_count":%b' % BEYOND_64_BITS)),
    "a count of 1e400": (BAD, append(b'{"type":"t"}', b',"token_count":1e400')),
    "a count of many digits": (BAD, append(b'{"type":"t"}', b',"token_count":%b' % DIGITS)),
    "a count with a fraction": (BAD, append(b'{"type":"t"}', b',"token_count":1.0')),
    "a count as text": (BAD, append(b'{"type":"t"}', b',"token_count":"1"')),
    "a version of 2^63": (
        CONFLICT,
        said(b'{"message":%b,"if_version":9223372036854775808}' % MESSAGE),
    ),
    "a version of 2^64": (
        CONFLICT,
        ("POST", "/compact", b'{"replacement":[],"if_version":%b}' % BEYOND_64_BITS),
    ),
    "a version of many digits": (BAD, said(b'{"message":%b,"if_version":%b}' % (MESSAGE, DIGITS))),
    "a version of 1e400": (BAD, said(b'{"message":%b,"if_version":1e400}' % MESSAGE)),
    "a budget of 2^64": (BAD, settings(b'{"token_budget":%b}' % BEYOND_64_BITS)),
    "a budget of many digits": (BAD, settings(b'{"token_budget":%b}' % DIGITS)),
    "a ratio of minus zero": (BAD, settings(b'{"trigger_ratio":-0.0}')),
    "a ratio that is too small": (BAD, settings(b'{"trigger_ratio":1e-400}')),
    "a ratio that is too large": (BAD, settings(b'{"trigger_ratio":1e400}')),
    "a limit of many digits": (
        BAD,
        settings(b'{"policy":{"strategy":"last_n","config":{"limit":%b}}}' % DIGITS),
    ),
    # -- names
    "a name of NUL": (BAD, said(rb'{"\u0000":1}')),
    "a name in capitals": (BAD, said(b'{"Message":%b}' % MESSAGE)),
    "a name with a blank": (BAD, said(b'{"message ":%b}' % MESSAGE)),
    "a prototype": (BAD, settings(b'{"__proto__":{"token_budget":1}}')),
    "two values, the first one wrong": (BAD, said(b'{"message":5,"message":%b}' % MESSAGE)),
    "two strategies": (
        BAD,
        settings(b'{"policy":{"strategy":"last_n","strategy":"manual","config":{}}}'),
    ),
    "two types, one wrong": (BAD, append(b'{"type":"text","type":5}')),
    # -- sizes
    "parts, 10^5": (TOO_LARGE, append(b",".join([b'{"type":"a"}'] * 100_000))),
    "messages, 5 * 10^4": (
        BAD,
        said(b'{"messages":[%b]}' % b",".join([MESSAGE] * 50_000)),
    ),
    "fields of a message, 10^5": (
        BAD,
        said(b'{"message":{%b}}' % b",".join(b'"%d":1' % n for n in range(100_000))),
    ),
    "keys of metadata, 10^5": (
        TOO_LARGE,
        settings(b'{"metadata":{%b}}' % b",".join(b'"%d":1' % n for n in range(100_000))),
    ),
    "a number too long for metadata": (TOO_LARGE, settings(b'{"metadata":{"a":%b}}' % DIGITS)),
    "a nest of objects": (BAD, part(b'{"a":' * 600_000)),
    "a nest that is closed": (BAD, part(nested(100_000))),
    # -- what is something else
    "gzip": (BAD, said(gzip.compress(b'{"message":%b}' % MESSAGE))),
    "UTF-16": (BAD, said(f'{{"message":{MESSAGE.decode()}}}'.encode("utf-16"))),
    "UTF-16 without a mark": (BAD, said(f'{{"message":{MESSAGE.decode()}}}'.encode("utf-16-le"))),
    "UTF-32": (BAD, said(f'{{"message":{MESSAGE.decode()}}}'.encode("utf-32-be"))),
    "a form": (BAD, said(b"message=%7B%7D")),
    "XML": (BAD, said(b"<message/>")),
    "a multipart body": (BAD, said(b"--x\r\nContent-Disposition: form-data\r\n\r\n{}\r\n--x--")),
    "MessagePack": (BAD, said(b"\x81\xa7message\x80")),
}


async def state(context: Context) -> Any:
    """All that a write could change."""
    return await context.get(), (await context.read("tail")).json()


@pytest.mark.parametrize("nasty", REFUSED)
async def test_it_is_refused_and_nothing_has_changed(context: Context, nasty: str) -> None:
    status, (method, noun, body) = REFUSED[nasty]
    before = await state(context)
    answer = await context.client.request(method, f"{context.path}{noun}", content=body)
    is_problem(answer, status, CODES[status])
    assert len(answer.content) < 1500
    assert await state(context) == before


KEPT = {
    "NUL": rb'"a\u0000b"',
    "NUL as a name": rb'{"\u0000":"\u0000"}',
    "DEL and C1": '"\x7f\x80\x9f"'.encode(),
    "noncharacters": '"\ufffe\uffff\U0010ffff"'.encode(),
    "marks and directions": '"\ufeff\u202e\u2028\u2029e\u0301\u200d"'.encode(),
    "pairs, escaped": rb'"\ud83d\ude00\uD83D\uDE00"',
    "needless escapes": rb'"\u0041\/\b"',
    "a number of 2^63": b"9223372036854775808",
    "a number of 2^64": BEYOND_64_BITS,
    "a number of 1e400": b"1e400",
    "a number of 1E-400": b"1E-400",
    "minus zero": b"-0",
    "minus zero, with a fraction": b"-0.0",
    "a number of many digits": DIGITS,
    "a fraction of many digits": b"0." + DIGITS,
    "doubled names": b'{"a":1,"a":[],"\\u0061":2}',
    "names of prototypes": b'{"__proto__":1,"constructor":{},"":[]}',
    "brackets in a string": b'"%b"' % (b"[{" * 50_000),
    "brackets behind a quote": rb'"\"%b"' % (b"[" * 1000),
    "siblings, many": b"[%b]" % b",".join([b"[]"] * 50_000),
    "markup": rb'"<script>alert(1)</script>\u003c"',
    "an injection": rb'"'
    rb"'); drop table messages; --"
    rb'"',
}


@pytest.mark.parametrize("nasty", KEPT)
async def test_it_is_kept_to_the_letter(context: Context, nasty: str) -> None:
    value = KEPT[nasty]
    parts = b'"parts":[{"type":"text","value":%b}]' % value
    metadata = b'"metadata":{"value":%b}' % value
    body = b'{"message":{"role":"user",%b,%b}}' % (parts, metadata)
    answer = await context.client.post(f"{context.path}/messages", content=body)
    assert answer.status_code == CREATED, answer.text
    for noun in ("tail", "messages", "context"):
        # An estimate may be beyond the budget; the newest message is shown all the same.
        content = (await context.read(noun)).content
        assert parts in content
        assert metadata in content


async def test_all_of_it_reaches_the_archive_to_the_letter(node: LiveNode) -> None:
    async with httpx.AsyncClient(base_url=node.url, timeout=30) as client:
        context = Context(client, f"nasty {uuid.uuid4().hex}")
        await context.put()
        for value in KEPT.values():
            message = b'{"role":"\\u0000","parts":[{"type":"text","value":%b}]}' % value
            await client.post(f"{context.path}/messages", content=b'{"message":%b}' % message)

        async def archived() -> bool:
            return bool((await context.get())["archived_seq"] == len(KEPT))

        await until_async(archived)
        shown = (await context.read("tail")).content
    assert node.settings.postgres is not None
    with psycopg.connect(node.settings.postgres.get_secret_value()) as connection:
        rows = connection.execute(
            "select body::text from messages where context_id = %s order by seq", (context.id,)
        ).fetchall()
    assert b'{"messages":[%b]}' % b",".join(body.encode() for (body,) in rows) == shown


@pytest.mark.parametrize("nasty", [name for name in KEPT if len(KEPT[name]) < 60_000])
async def test_metadata_are_kept_to_the_letter(context: Context, nasty: str) -> None:
    metadata = b'{"value":%b}' % KEPT[nasty]
    answer = await context.client.put(context.path, content=b'{"metadata":%b}' % metadata)
    assert b'"metadata":%b' % metadata in answer.content
    answer = await context.client.patch(
        f"{context.path}/metadata", content=b'{"metadata":{"more":%b}}' % KEPT[nasty]
    )
    assert b'"more":%b' % KEPT[nasty] in answer.content


NAMED = b'{"message":{"role":"\\u0000","id":"\\u0000","parts":[{"type":"\\u0000"}]}}'
TAKEN: dict[str, tuple[int, Write]] = {
    "NUL for every name": (CREATED, said(NAMED)),
    "parts, 75,000": (CREATED, append(b",".join([b'{"type":"a"}'] * 75_000))),
    "the last of two versions": (
        CREATED,
        said(b'{"if_version":99,"message":%b,"\\u0069f_version":0}' % MESSAGE),
    ),
    "the last of two parts": (
        CREATED,
        said(b'{"message":{"role":"user","parts":[],"parts":[{"type":"text"}]}}'),
    ),
    "white space around": (CREATED, said(b' \r\n\t{"message":%b} \r\n\t' % MESSAGE)),
    "a count of minus zero": (CREATED, append(b'{"type":"t"}', b',"token_count":-0')),
    "what a reader gets, of any kind": (
        CREATED,
        append(b'{"type":"t"}', b',"seq":%b,"version":[{}],"inserted_at":null' % DIGITS),
    ),
    "the smallest ratio": (OK, settings(b'{"trigger_ratio":5e-324}')),
    "a ratio that is one, nearly": (OK, settings(b'{"trigger_ratio":1.0000000000000001}')),
    "the same key, 10^5 times": (
        OK,
        ("PATCH", "/metadata", b'{"metadata":{%b}}' % b",".join([b'"a":1'] * 100_000)),
    ),
}


@pytest.mark.parametrize("nasty", TAKEN)
async def test_it_is_taken(context: Context, nasty: str) -> None:
    status, (method, noun, body) = TAKEN[nasty]
    answer = await context.client.request(method, f"{context.path}{noun}", content=body)
    assert answer.status_code == status, answer.text
    await state(context)


DEEP = {
    "a part": (4, *append(b'{"type":"text","value":%b}')),
    "a part of many": (
        5,
        *said(b'{"messages":[{"role":"user","parts":[{"type":"text","value":%b}]}]}'),
    ),
    "a message's metadata": (3, *append(b'{"type":"text"}', b',"metadata":{"value":%b}')),
    "a replacement": (
        5,
        "POST",
        "/compact",
        b'{"replacement":[{"role":"user","parts":[{"type":"text","value":%b}]}]}',
    ),
    "settings": (2, *settings(b'{"metadata":{"value":%b}}')),
    "a patch": (2, "PATCH", "/metadata", b'{"metadata":{"value":%b}}'),
}
"""How deep a value lies in its body, and the body."""


@pytest.mark.parametrize("place", DEEP)
async def test_the_deepest_body_is_taken_and_one_level_more_is_refused(
    context: Context, place: str
) -> None:
    own, method, noun, body = DEEP[place]
    deepest = nested(NESTING_LEVELS_MAX - own)
    deeper = nested(NESTING_LEVELS_MAX - own + 1)
    ask = context.client.request
    answer = await ask(method, f"{context.path}{noun}", content=body.replace(b"%b", deeper))
    assert f"{NESTING_LEVELS_MAX} levels" in is_problem(answer, BAD, "invalid_request")["message"]
    answer = await ask(method, f"{context.path}{noun}", content=body.replace(b"%b", deepest))
    assert answer.status_code in (OK, CREATED), answer.text
    shown = context.path if noun in ("", "/metadata") else f"{context.path}/context"
    assert deepest in (await context.client.get(shown)).content


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json\t;;;"},
        {"Content-Encoding": "gzip"},
        {"Accept": "text/html"},
        {"Accept-Charset": "utf-16"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Range": "bytes=0-1"},
        {"If-None-Match": "*"},
        {"Host": "somebody.else"},
        {"X-Forwarded-Prefix": "/v2"},
        {"X-Original-URL": "/health/live"},
    ],
)
async def test_headers_that_are_not_ours_change_nothing(
    context: Context, headers: dict[str, str]
) -> None:
    path = f"{context.path}/messages"
    body = b'{"message":%b}' % MESSAGE
    answer = await context.client.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["seq"]) == (CREATED, 1)
    answer = await context.client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["last_seq"]) == (OK, 1)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "query",
    [
        "limit=%EF%BC%91",
        "limit=%D9%A1",
        "limit=1e2",
        "limit=+1",
        "limit=%2B1",
        "limit=1_0",
        "limit=1.0",
        "limit=0x1",
        "limit=%201",
        "limit=1%00",
        "limit=",
        "limit",
        "limit=1&limit=2",
        "limit=1&%6Cimit=2",
        "limit[]=1",
        "LIMIT=1",
        "limit=1;offset=0",
        "%FF=1",
        "limit=%FF",
        "%00=1",
        f"limit={'9' * 10_000}",
        f"limit={'0' * 30}1",
        "&".join(f"a{n}=1" for n in range(5000)),
    ],
)
async def test_a_nasty_query_is_refused(context: Context, query: str) -> None:
    answer = await context.client.get(httpx.URL(f"{context.path}/tail?{query}"))
    is_problem(answer, BAD, "invalid_request")
    assert len(answer.content) < 1500


@pytest.mark.parametrize("query", ["", "&&&", "limit=1&", "limit=0001"])
async def test_a_harmless_query_is_taken(context: Context, query: str) -> None:
    answer = await context.client.get(httpx.URL(f"{context.path}/tail?{query}"))
    assert (answer.status_code, json.loads(answer.content)) == (OK, {"messages": []})

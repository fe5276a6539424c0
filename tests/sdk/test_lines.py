"""Lines that break, servers that are something else, and keys that are none, on real sockets."""

import asyncio
import socket
import tomllib
from asyncio import StreamReader, StreamWriter
from pathlib import Path

import pytest

from api.problems import STATUS
from rewindow_client import (
    AsyncRewindow,
    Internal,
    InvalidRequest,
    NoAnswer,
    NotExpressible,
    NotFound,
    NotRewindow,
    OtherVersion,
    RateLimited,
    Refused,
    Rewindow,
    RewindowError,
    Unauthorized,
    Unavailable,
    text,
)
from rewindow_client.connection import USER_AGENT
from rewindow_client.errors import REFUSALS
from tests.sdk.doors import Door, listed, opened
from tests.sdk.faulty import STATE_JSON, Canned, Cutting, http, listening, refused
from tests.support.live_node import LiveNode, live_node

ROOT = Path(__file__).parents[2]


async def state_from(kind: str, *answers: bytes, timeout_s: float = 0.4) -> object:
    """What a client makes of a server that answers so."""
    async with (
        listening(Canned(*answers).serve) as url,
        opened(kind, url, timeout=timeout_s) as client,
    ):
        return await client.context("demo").state()


async def test_a_field_that_a_newer_server_adds_is_passed_over(kind: str) -> None:
    state = await state_from(kind, http("200 OK", STATE_JSON))
    assert state.version == 3


async def test_a_server_of_another_version_is_told_from_one_that_is_broken(kind: str) -> None:
    with pytest.raises(OtherVersion, match=r"missing required field `status`.*server's version"):
        await state_from(kind, http("200 OK", b'{"id":"demo"}', "Content-Type: application/json"))


async def test_a_wrong_address_is_said_to_be_one(kind: str) -> None:
    page = http("200 OK", b"<!DOCTYPE html><p>Welcome", "Content-Type: text/html")
    with pytest.raises(NotRewindow, match=r"text/html: '<!DOCTYPE html><p>Welcome'; give the addr"):
        await state_from(kind, page)
    with pytest.raises(NotRewindow, match="answered 404 with application/json"):
        await state_from(
            kind, http("404 Not Found", b'{"detail":"Not Found"}', "Content-Type: application/json")
        )
    with pytest.raises(NotRewindow, match="sends elsewhere, to https://node/"):
        await state_from(kind, http("308 Permanent Redirect", b"", "Location: https://node/"))


async def test_a_port_where_nobody_listens(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with opened(kind, url, timeout=0.3) as client:
            with pytest.raises(NoAnswer, match=r"within 0.3 s \(no connection: .*mend base_url"):
                await client.context("demo").state()


async def test_an_answer_that_is_cut_in_its_middle(kind: str) -> None:
    cut = http("200 OK", STATE_JSON[:50], length=len(STATE_JSON))
    with pytest.raises(NoAnswer, match="cut before the answer was whole"):
        await state_from(kind, cut)
    with pytest.raises(NoAnswer, match="cut before the answer was whole"):
        await state_from(kind, b"")
    state = await state_from(kind, cut, b"", http("200 OK", STATE_JSON), timeout_s=30)
    assert state.version == 3


async def test_a_server_that_says_nothing_is_given_up_in_time(kind: str) -> None:
    async def silent(reader: StreamReader, _writer: StreamWriter) -> None:
        await reader.read(-1)

    async with listening(silent) as url, opened(kind, url, timeout=0.3) as client:
        with pytest.raises(NoAnswer, match="it took too long"):
            await client.context("demo").state()


async def test_an_answer_that_comes_in_drops_is_given_up_in_time(kind: str) -> None:
    async def dripping(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(http("200 OK", b"", length=1 << 20))
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async with listening(dripping) as url, opened(kind, url, timeout=0.5) as client:
        with pytest.raises(NoAnswer, match="it took too long"):
            await client.context("demo").state()


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(REFUSALS))
async def test_each_documented_code_has_its_exception(code: str) -> None:
    answer = refused("418 Some", code, more=',"field":"f","version":7,"seq":9,"trace_id":"t"')
    with pytest.raises(Refused) as raised:
        await state_from("sync", answer)
    assert type(raised.value) is REFUSALS[code]
    assert (str(raised.value), raised.value.status, raised.value.code) == ("Do this.", 418, code)
    assert raised.value.fields == {"field": "f", "version": 7, "seq": 9, "trace_id": "t"}


def test_every_code_of_the_server_has_an_exception() -> None:
    assert REFUSALS.keys() >= STATUS.keys()


async def test_a_code_that_a_newer_server_has_is_a_refusal_with_its_sentence(kind: str) -> None:
    with pytest.raises(Refused, match=r"Do this\.") as raised:
        await state_from(kind, refused("451 Legal", "never_heard_of", more=',"why":1'))
    assert type(raised.value) is Refused
    assert (raised.value.code, raised.value.fields) == ("never_heard_of", {"why": 1})


async def test_what_refusals_carry() -> None:
    async def caught(status: str, code: str, more: str) -> RewindowError:
        with pytest.raises(RewindowError) as raised:
            await state_from("sync", refused(status, code, more=more))
        return raised.value

    late = await caught("503 Unavailable", "unavailable", ',"retry_after":5')
    assert isinstance(late, Unavailable)
    assert late.retry_after == 5
    many = await caught("429 Too Many", "rate_limited", ',"retry_after":6')
    assert isinstance(many, RateLimited)
    assert many.retry_after == 6
    bug = await caught("500 Internal", "internal", ',"trace_id":"abc"')
    assert isinstance(bug, Internal)
    assert bug.trace_id == "abc"
    mute = await caught("422 Unprocessable", "not_expressible", ',"seq":7')
    assert isinstance(mute, NotExpressible)
    assert mute.seq == 7


async def test_a_node_that_wants_a_key(
    kind: str, tmp_path_factory: pytest.TempPathFactory, kafka: str
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    with live_node(folder, kafka, None, api_keys="first,second") as node:
        for key in (None, "wrong"):
            async with opened(kind, node.url, key) as client:
                with pytest.raises(Unauthorized):
                    await client.context("demo").state()
        async with opened(kind, node.url, "second") as client:
            with pytest.raises(NotFound):
                await client.context("demo").state()


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:4000", "localhost", "ftp://node", "http://", "http://n:99999", "http://["],
)
def test_an_address_that_can_be_none(url: str) -> None:
    for kind in (Rewindow, AsyncRewindow):
        with pytest.raises(ValueError, match="base_url has to be"):
            kind(url)


def test_a_key_that_can_be_none() -> None:
    for key in ("schlüssel", "two\nlines"):
        with pytest.raises(ValueError, match="api_key"):
            Rewindow("http://node", key)


async def test_an_idempotency_key_that_can_be_none(kind: str) -> None:
    async with opened(kind, "http://node") as client:
        for key in ("schlüssel", "two\nlines"):
            with pytest.raises(ValueError, match="idempotency key"):
                await client.context("demo").append(text("user", "One"), key=key)


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "sdk/python/pyproject.toml").read_text())["project"]
    assert f"{project['name']}/{project['version']}" == USER_AGENT


async def test_an_address_with_a_path_before_ours(kind: str) -> None:
    server = Canned(http("200 OK", STATE_JSON))
    async with listening(server.serve) as url:
        for base in (f"{url}/behind/proxy", f"{url}/behind/proxy/"):
            async with opened(kind, base) as client:
                await client.context("a b").state()
    assert {one.split(b" ")[1] for one in server.asked} == {b"/behind/proxy/v1/contexts/a%20b"}


# -- never twice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_or_doubled_however_often_the_line_is_cut(
    kind: str, node: LiveNode, name: str, seed: int
) -> None:
    cutting = Cutting(node.url, seed)
    said = [f"message {number}" for number in range(30)]
    async with listening(cutting.serve) as url, opened(kind, url) as client:
        context: Door = client.context(name)
        await context.configure()
        seqs = [(await context.append(text("user", one))).first_seq for one in said]
        found = [message.text for message in await listed(context.replay(page_size=7))]
    assert cutting.cuts >= 10, "the line was cut often enough to show something"
    assert found == said
    assert seqs == list(range(1, len(said) + 1))


async def test_a_refused_key_comes_with_one_that_may_be_used(context: Door) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await context.append(text("user", "One"), key="x" * 201)
    await context.append(text("user", "One"), key=raised.value.key)

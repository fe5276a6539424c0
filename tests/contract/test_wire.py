"""Bytes that no HTTP client sends, on the wire of a live node: nothing can be read in two ways,
nothing is read without bound."""

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from schemas.limits import REQUEST_BYTES_MAX
from tests.support.live_node import LiveNode

PATIENCE_S = 30
FLAT_BYTES = 32 << 20
"""A node does other things too; what it is sent here is many times more."""
SENT_BYTES_MAX = 256 << 20
CHUNK = b"F4240\r\n%b\r\n" % (b"x" * 1_000_000)


class Line:
    """A connection, and the bytes that came over it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.socket = socket.create_connection((parts.hostname, parts.port), PATIENCE_S)
        self.heard = b""

    def send(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def send_on(self, piece: bytes) -> int:
        """Send a piece again and again until the other side has had enough; how many bytes."""
        sent = 0
        try:
            while sent < SENT_BYTES_MAX:
                self.socket.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            return sent
        pytest.fail(f"{sent} bytes were taken, and the line is still open")

    def answer(self) -> tuple[int, Any]:
        """The next answer: its status, and the JSON in it."""
        head = self._until(b"\r\n\r\n").decode()
        status = int(head.split()[1])
        length = next(
            int(line.split(":")[1])
            for line in (*head.lower().splitlines(), "content-length: 0")
            if line.startswith("content-length:")
        )
        while len(self.heard) < length:
            self.hear()
        body, self.heard = self.heard[:length], self.heard[length:]
        return status, json.loads(body) if body else None

    def refusal(self) -> tuple[int, str]:
        """The next answer, which has to be a refusal in our shape."""
        status, body = self.answer()
        assert len(body["message"].split()) > 2
        return status, body["error"]

    def closed(self) -> bool:
        """Whether the other side closes, and says nothing more before it does."""
        try:
            return not self.heard and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def hear(self) -> None:
        piece = self.socket.recv(65536)
        assert piece, f"the line was closed after {self.heard!r}"
        self.heard += piece

    def _until(self, end: bytes) -> bytes:
        while end not in self.heard:
            self.hear()
        found, _, self.heard = self.heard.partition(end)
        return found


@contextmanager
def line_to(node: LiveNode) -> Iterator[Line]:
    line = Line(node.url)
    try:
        yield line
    finally:
        line.socket.close()


@pytest.fixture
def line(node: LiveNode) -> Iterator[Line]:
    with line_to(node) as line:
        yield line


@pytest.fixture
def name(node: LiveNode) -> str:
    """A context that is there."""
    name = f"wire-{uuid.uuid4().hex}"
    assert httpx.put(f"{node.url}/v1/contexts/{name}").status_code == 201
    return name


def put(name: str, *headers: bytes) -> bytes:
    """The head of a PUT, without its end."""
    lines = (b"PUT /v1/contexts/%b HTTP/1.1" % name.encode(), b"Host: node", *headers)
    return b"".join(line + b"\r\n" for line in lines)


def status_of(node: LiveNode, name: str) -> str:
    return str(httpx.get(f"{node.url}/v1/contexts/{name}").json()["status"])


# -- what can be read in two ways --------------------------------------------------------------

LENGTH, CHUNKED = b"Content-Length: 2", b"Transfer-Encoding: chunked"
IN_CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
AMBIGUOUS = {
    "a length and chunks": ((LENGTH, CHUNKED), IN_CHUNKS),
    "chunks and a length": ((CHUNKED, LENGTH), IN_CHUNKS),
    "two lengths": ((LENGTH, b"Content-Length: 5"), b"{}"),
    "the same length twice": ((LENGTH, LENGTH), b"{}"),
    "a list of lengths": ((b"Content-Length: 2, 2",), b"{}"),
    "a negative length": ((b"Content-Length: -2",), b"{}"),
    "a length with a sign": ((b"Content-Length: +2",), b"{}"),
    "a length in hex": ((b"Content-Length: 0x2",), b"{}"),
    "a length beyond all numbers": ((b"Content-Length: 99999999999999999999999",), b"{}"),
    "a length of no digits": ((b"Content-Length:",), b"{}"),
    "a blank before the colon": ((b"Content-Length : 2",), b"{}"),
    "a folded header": ((b"X-Note: a\r\n b", LENGTH), b"{}"),
    "a folded length": ((b"Content-Length:\r\n 2",), b"{}"),
    "a blank line that is none": ((b"X-Note: a\n\nX-Rest: b", LENGTH), b"{}"),
    "NUL in a header": ((b"X-Note: a\0b", LENGTH), b"{}"),
    "CR in a header": ((b"X-Note: a\rb", LENGTH), b"{}"),
    "a header without a name": ((b": a", LENGTH), b"{}"),
    "a header without a colon": ((b"X-Note", LENGTH), b"{}"),
    "chunks by another name": ((b"Transfer-Encoding: xchunked",), IN_CHUNKS),
    "chunks that are not the last": ((b"Transfer-Encoding: chunked, identity",), IN_CHUNKS),
    "chunks behind a control character": ((b"Transfer-Encoding: \x0bchunked",), IN_CHUNKS),
    "two encodings": ((CHUNKED, b"Transfer-Encoding: identity"), IN_CHUNKS),
    "a chunk of negative size": ((CHUNKED,), b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with 0x": ((CHUNKED,), b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a chunk beyond all numbers": ((CHUNKED,), b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "a chunk shorter than it says": ((CHUNKED,), b"1\r\n{}\r\n0\r\n\r\n"),
    "chunks with bare line feeds": ((CHUNKED,), b"2\n{}\n0\n\n"),
}


@pytest.mark.parametrize("shape", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    node: LiveNode, line: Line, name: str, shape: str
) -> None:
    headers, body = AMBIGUOUS[shape]
    hidden = b"DELETE /v1/contexts/%b HTTP/1.1\r\nHost: node\r\n\r\n" % name.encode()
    line.send(put(name, *headers), b"\r\n", body, hidden)
    assert line.refusal() == (400, "invalid_request")
    assert line.closed()
    assert status_of(node, name) == "active"


def test_a_body_that_looks_like_a_request_is_a_body(node: LiveNode, line: Line, name: str) -> None:
    hidden = b"DELETE /v1/contexts/%b HTTP/1.1\r\nHost: node\r\n\r\n" % name.encode()
    for head in (put(name), b"GET /health/live HTTP/1.1\r\nHost: node\r\n"):
        line.send(head, b"Content-Length: %d\r\n\r\n" % len(hidden), hidden)
        assert line.answer()[0] in (200, 400)
    assert status_of(node, name) == "active"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"FROB /health/live HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET /health/live HTTP/1.1\nHost: node\n\n",
        b"GET /health/live HTTP/1.1\rHost: node\r\r",
        b"GET /health/live and more HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET /v1/contexts/a\0b HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET /v1/contexts/\xc3\xa9 HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET health/live HTTP/1.1\r\nHost: node\r\n\r\n",
        b"CONNECT node:80 HTTP/1.1\r\nHost: node\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(line: Line, sent: bytes) -> None:
    line.send(sent)
    assert line.refusal() == (400, "invalid_request")
    assert line.closed()


@pytest.mark.parametrize(
    "headers",
    [(b"Content-Length: 2",), (b"Transfer-Encoding: chunked",)],
)
def test_no_websocket_is_opened_by_a_request_with_a_body(
    line: Line, name: str, headers: tuple[bytes, ...]
) -> None:
    head = b"GET /v1/contexts/%b/stream HTTP/1.1\r\nHost: node\r\n" % name.encode()
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    body = b"{}" if headers[0].startswith(b"Content") else IN_CHUNKS
    line.send(head, upgrade, headers[0], b"\r\n\r\n", body)
    assert line.refusal() == (400, "invalid_request")
    assert line.closed()


def test_garbage_behind_a_request_is_not_answered_in_its_place(line: Line) -> None:
    line.send(b"GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n", b"\0\1\2\r\n\r\n")
    assert line.closed()


# -- what is odd, and right --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((CHUNKED,), b'2;name=value;other="a b"\r\n{}\r\n0;last\r\n\r\n'),
        ((CHUNKED,), b"1\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: a\r\n\r\n"),
        ((CHUNKED,), b"0000002\r\n{}\r\n0\r\n\r\n"),
        ((b"Content-Length: 0",), b""),
        ((b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", LENGTH), b"{}"),
    ],
)
def test_what_the_rules_allow_is_taken(
    line: Line, name: str, headers: tuple[bytes, ...], body: bytes
) -> None:
    line.send(put(name, *headers), b"\r\n", body)
    assert line.answer()[0] == 200


def test_requests_that_are_sent_ahead_are_answered_in_order(line: Line, name: str) -> None:
    said = b'{"message":{"role":"user","parts":[{"type":"text"}]}}'
    head = b"POST /v1/contexts/%b/messages HTTP/1.1\r\nHost: node\r\n" % name.encode()
    line.send(*[head + b"Content-Length: %d\r\n\r\n" % len(said) + said] * 5)
    assert [line.answer()[1]["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_client_that_asks_first_is_told_before_it_sends(line: Line, name: str) -> None:
    line.send(put(name, b"Expect: 100-continue", b"Content-Length: 2"), b"\r\n")
    assert line.answer() == (100, None)
    line.send(b"{}")
    assert line.answer()[0] == 200
    line.send(put(name, b"Expect: 100-continue", b"Content-Length: 99999999"), b"\r\n")
    assert line.refusal() == (413, "too_large")


# -- what has no end ---------------------------------------------------------------------------


@pytest.fixture
def flat(node: LiveNode) -> Iterator[None]:
    """What the test sends does not stay in the node."""
    assert node.pid is not None
    process = psutil.Process(node.pid)
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss < before + FLAT_BYTES


BODY, HEAD = (413, "too_large"), (431, "too_large")
ENDLESS = {
    "a body of two gigabytes": (BODY, put("x", b"Content-Length: 2147483648"), b"x" * 1_000_000),
    "chunks": (BODY, put("x", CHUNKED), CHUNK),
    "small chunks": (BODY, put("x", CHUNKED), b"10\r\n0123456789abcdef\r\n" * 10_000),
    "a chunk's extension": (HEAD, put("x", CHUNKED) + b"\r\n1;", b"x" * 1_000_000),
    "trailers": (HEAD, put("x", CHUNKED) + b"\r\n0\r\n", b"X-Trailer: some value\r\n" * 40_000),
    "headers": (HEAD, put("x"), b"X-Header: some value\r\n" * 40_000),
    "one header": (HEAD, put("x") + b"X-Header: ", b"x" * 1_000_000),
    "a path": (HEAD, b"GET /v1/contexts/", b"x" * 1_000_000),
}
"""The refusal, what is sent first, and what is sent again and again."""


@pytest.mark.parametrize("shape", ENDLESS)
def test_what_has_no_end_is_refused_and_cut_off(flat: None, line: Line, shape: str) -> None:
    refusal, first, piece = ENDLESS[shape]
    line.send(first, b"\r\n" if refusal is BODY else b"")
    line.send_on(piece)
    assert line.refusal() == refusal
    assert line.closed()


def test_a_body_that_nobody_asked_for_is_cut_off(flat: None, line: Line) -> None:
    line.send(b"GET /health/live HTTP/1.1\r\nHost: node\r\n", CHUNKED, b"\r\n\r\n")
    line.send_on(CHUNK)
    assert line.answer() == (200, {"status": "ok"})
    assert line.closed()


def test_who_sends_a_little_too_much_is_told_and_may_go_on(
    flat: None, line: Line, name: str
) -> None:
    size = REQUEST_BYTES_MAX + (2 << 20)
    line.send(put(name, b"Content-Length: %d" % size), b"\r\n", b" " * size)
    assert line.refusal() == (413, "too_large")
    line.send(put(name, LENGTH), b"\r\n{}")
    assert line.answer()[0] == 200


def test_a_head_of_sixty_kilobytes_is_taken(line: Line, name: str) -> None:
    line.send(put(name, LENGTH, b"X-Note: " + b"x" * 60_000), b"\r\n{}")
    assert line.answer()[0] == 200


def test_many_that_never_end_a_request_hold_up_nobody(node: LiveNode, name: str) -> None:
    lines = [Line(node.url) for _ in range(50)]
    for line in lines:
        line.send(put(name, b"Content-Length: 100"), b"\r\n{")
    assert status_of(node, name) == "active"
    for line in lines:
        line.socket.close()
    assert status_of(node, name) == "active"

"""What a request says: its context, its key, its query and its body, each checked as it is read."""

import asyncio
import re
import secrets
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Final, TypeVar, overload
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from api.problems import Problem, invalid
from schemas.ids import problem_of_context_id, problem_of_event_id
from schemas.limits import CONTEXT_ID_BYTES_MAX, REQUEST_BYTES_MAX

T = TypeVar("T")

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
KEY_HEADER: Final = IDEMPOTENCY_KEY.lower().encode()

READS: Final = ("GET", "HEAD")
"""The methods that change nothing."""

NUMBER_MAX: Final = 2**63 - 1
"""The largest number that every client and every column can hold."""

READ_AT_ONCE_BYTES_MAX: Final = 64 << 10
"""A larger body is read in a thread: 4 MiB of brackets would hold up everybody for half a second
(measured with CPython 3.11)."""

IDS_KNOWN_MAX: Final = 4096
"""Ids that are remembered as they stood in a path: each request asks twice."""

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def context_id(request: HTTPConnection) -> str:
    """The id in the path, which arrives as it was sent (see `api.app.RawPath`)."""
    return context_id_of(request.path_params["id"])


@lru_cache(maxsize=IDS_KNOWN_MAX)
def context_id_of(path: str) -> str:
    """The id that a piece of a path stands for. Raises `Problem`."""
    sent = path.encode("latin-1")
    if _STRAY_PERCENT.search(sent):
        raise invalid("a '%' in the path has to be followed by two hex digits; send it as %25")
    try:
        text = unquote_to_bytes(sent).decode()
    except UnicodeDecodeError:
        raise invalid("the context id is not UTF-8; percent-encode it as UTF-8", "id") from None
    if (problem := problem_of_context_id(text)) is not None:
        raise invalid(problem, "id")
    return text


def idempotency_key(request: Request) -> str:
    """The client's key, or a new one."""
    keys = _headers(request, KEY_HEADER)
    if not keys:
        return new_idempotency_key()
    if len(keys) > 1:
        raise invalid("Idempotency-Key is there more than once; send one", IDEMPOTENCY_KEY)
    if (problem := problem_of_event_id(keys[0])) is not None:
        raise invalid(problem, IDEMPOTENCY_KEY)
    if not keys[0].isascii():
        # Headers carry bytes of no known encoding: what came back might not be what was sent.
        raise invalid("Idempotency-Key holds letters beyond ASCII; leave them out", IDEMPOTENCY_KEY)
    return keys[0]


def key_to_give_back(request: Request) -> str:
    """The client's key, or a new one where it has none that may be used."""
    try:
        return idempotency_key(request)
    except Problem:
        return new_idempotency_key()


def new_idempotency_key() -> str:
    """A key that nobody has used."""
    return secrets.token_hex(16)


def check_query(request: HTTPConnection, known: Collection[str]) -> None:
    """Refuse a parameter that the route does not know: a slip of the pen would go unnoticed."""
    if not request.scope["query_string"]:
        return
    seen = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            offered = f"it takes {', '.join(known)}" if known else "it takes none"
            raise invalid(f"{name!r} is not a query parameter of this route; {offered}", name)
        if name in seen:
            raise invalid(f"the query parameter {name} is there more than once; send one", name)
        seen.add(name)


@overload
def number(
    request: HTTPConnection, name: str, default: int, *, least: int = 0, most: int = NUMBER_MAX
) -> int: ...


@overload
def number(
    request: HTTPConnection,
    name: str,
    default: None = None,
    *,
    least: int = 0,
    most: int = NUMBER_MAX,
) -> int | None: ...


def number(
    request: HTTPConnection,
    name: str,
    default: int | None = None,
    *,
    least: int = 0,
    most: int = NUMBER_MAX,
) -> int | None:
    """A whole number of the query, or the default where it is left out."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if _WHOLE_NUMBER.fullmatch(text) is None or not least <= int(text) <= most:
        raise invalid(f"{name} has to be a whole number from {least} to {most}", name)
    return int(text)


def text(request: HTTPConnection, name: str) -> str | None:
    """A text of the query, as long as a context id at most, or None where it is left out."""
    value = request.query_params.get(name)
    if value is not None and len(value.encode(errors="replace")) > CONTEXT_ID_BYTES_MAX:
        raise invalid(f"{name} has more than {CONTEXT_ID_BYTES_MAX} bytes, as no id has", name)
    return value


def flag(request: HTTPConnection, name: str, *, default: bool) -> bool:
    """`true` or `false` of the query, or the default where it is left out."""
    match request.query_params.get(name):
        case None:
            return default
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case _:
            raise invalid(f"{name} has to be true or false", name)


async def body(request: Request, read: Callable[[bytes], T]) -> T:
    """The whole body, as `read` understands it."""
    raw = await _whole_body(request)
    if len(raw) <= READ_AT_ONCE_BYTES_MAX:
        return read(raw)
    return await asyncio.to_thread(read, raw)


async def _whole_body(request: Request) -> bytes:
    """Reading stops where the body becomes too large, whatever its headers say."""
    for declared in _headers(request, b"content-length"):
        if declared.isdecimal() and int(declared[:18]) > REQUEST_BYTES_MAX:
            raise _too_large()
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > REQUEST_BYTES_MAX:
            raise _too_large()
        chunks.append(chunk)
    return b"".join(chunks)


def _headers(request: Request, name: bytes) -> list[str]:
    """The values of a header; `name` in lower case. Starlette's own way there copies all of them
    first."""
    return [value.decode("latin-1") for key, value in request.scope["headers"] if key == name]


def _too_large() -> Problem:
    return Problem(
        "too_large", f"the request has more than {REQUEST_BYTES_MAX} bytes; send it in parts"
    )

"""What can be asked of a node: each request with the way to read its answer. No I/O."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from rewindow_client.batches import encoded
from rewindow_client.shapes import (
    AnyMessage,
    Appended,
    Compacted,
    Contexts,
    ContextState,
    Json,
    Page,
    RenderedWindow,
    Settings,
    Tail,
    Undone,
    Window,
    sent,
)

T = TypeVar("T")

DOT_SEGMENTS: Final = (".", "..")
"""Clients and proxies resolve them in a path, however they are written: another path would be
asked."""


class Call(Struct, Generic[T], frozen=True):
    """One request. `key`: the idempotency key of a write, so that it may be sent again; None of a
    read. `read` understands the body of an answer, and raises `msgspec.DecodeError` otherwise."""

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, str] = {}
    body: bytes | None = None
    key: str | None = None


# -- contexts ------------------------------------------------------------------------------------


def contexts(prefix: str | None, limit: int, after: str | None) -> Call[Contexts]:
    """A page of the contexts of all nodes."""
    query = _query(prefix=prefix, limit=limit, after=after)
    return Call("GET", "/v1/contexts", _reading(Contexts), query)


def configure(context_id: str, settings: Settings, key: str | None) -> Call[ContextState]:
    """Make a context, or change its settings."""
    return _write("PUT", path_of(context_id), ContextState, dict(settings), key)


def state(context_id: str) -> Call[ContextState]:
    """Settings and state."""
    return Call("GET", path_of(context_id), _reading(ContextState))


def delete(context_id: str) -> Call[None]:
    """Close it for good."""
    return Call("DELETE", path_of(context_id), _nothing, key=new_key())


def patch_metadata(context_id: str, metadata: Json, key: str | None) -> Call[ContextState]:
    """Merge keys into the metadata."""
    path = path_of(context_id, "metadata")
    return _write("PATCH", path, ContextState, {"metadata": metadata}, key)


# -- messages ------------------------------------------------------------------------------------


def append(
    context_id: str, messages: Iterable[AnyMessage], if_version: int | None, key: str | None
) -> Call[Appended]:
    """Append messages, all or nothing."""
    body = {"messages": list(map(sent, messages)), "if_version": if_version}
    return _write("POST", path_of(context_id, "messages"), Appended, body, key)


def undo(context_id: str, from_seq: int, if_version: int | None, key: str | None) -> Call[Undone]:
    """Undo what still stands from a seq on."""
    body = {"from_seq": from_seq, "if_version": if_version}
    return _write("POST", path_of(context_id, "undo"), Undone, body, key)


def tail(context_id: str, limit: int, offset: int) -> Call[Tail]:
    """A page counted back from the newest message."""
    query = _query(limit=limit, offset=offset)
    return Call("GET", path_of(context_id, "tail"), _reading(Tail), query)


def page(context_id: str, from_seq: int | None, before_seq: int | None, limit: int) -> Call[Page]:
    """A page of the history."""
    query = _query(from_seq=from_seq, before_seq=before_seq, limit=limit)
    return Call("GET", path_of(context_id, "messages"), _page, query)


# -- window --------------------------------------------------------------------------------------


def window(context_id: str, **asked: int | None) -> Call[Window]:
    """What the model sees."""
    return Call("GET", path_of(context_id, "context"), _reading(Window), _query(**asked))


def rendered_window(context_id: str, form: str, **asked: int | None) -> Call[RenderedWindow]:
    """What the model sees, in the shape that a provider takes."""
    query = _query(format=form, **asked)
    return Call("GET", path_of(context_id, "context"), _rendered, query)


def compact(
    context_id: str, replacement: Iterable[AnyMessage], if_version: int | None, key: str | None
) -> Call[Compacted]:
    """Put these messages in the place of the window."""
    body = {"replacement": list(map(sent, replacement)), "if_version": if_version}
    return _write("POST", path_of(context_id, "compact"), Compacted, body, key)


# -- writing -------------------------------------------------------------------------------------


def new_key() -> str:
    """An idempotency key that nobody has used."""
    return uuid.uuid4().hex


def sound(key: str | None) -> str:
    """The key, or a new one where there is none. Raises `ValueError` if no header can hold it."""
    if key is None:
        return new_key()
    if not key.isascii() or not key.isprintable():
        raise ValueError(f"an idempotency key is printable ASCII; {key!r} is not")
    return key


def path_of(context_id: str, noun: str = "") -> str:
    """The path of a context, or of something of it. Raises `ValueError`."""
    if context_id in DOT_SEGMENTS:
        raise ValueError(f"{context_id!r} can't stand in a path; call the context something else")
    path = f"/v1/contexts/{quote(context_id, safe='')}"
    return f"{path}/{noun}" if noun else path


def _write(method: str, path: str, answers: type[T], body: Json, key: str | None) -> Call[T]:
    given = {name: value for name, value in body.items() if value is not None}
    return Call(method, path, _reading(answers), {}, encoded(given), sound(key))


def _query(**asked: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in asked.items() if value is not None}


# -- reading -------------------------------------------------------------------------------------


def _reading(answers: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(answers).decode


def _nothing(_body: bytes) -> None:
    """An answer without a body."""


_decode_page = _reading(Page)
_decode_fields = _reading(dict[str, Any])


def _page(body: bytes) -> Page:
    """Each message says itself whether it was undone."""
    found = _decode_page(body)
    if not found.undone:
        return found
    gone = _seqs_of([(one.from_seq, one.to_seq) for one in found.undone])
    messages = [replace(one, undone=gone(one.seq)) for one in found.messages]
    return replace(found, messages=messages)


def _seqs_of(ranges: Sequence[tuple[int, int]]) -> Callable[[int | None], bool]:
    def is_in(seq: int | None) -> bool:
        return seq is not None and any(first <= seq <= last for first, last in ranges)

    return is_in


def _rendered(body: bytes) -> RenderedWindow:
    """What is not of the envelope is the provider's."""
    fields = _decode_fields(body)
    ours = {name: fields.pop(name) for name in RenderedWindow.__struct_fields__ if name in fields}
    return msgspec.convert({**ours, "request": fields}, RenderedWindow)

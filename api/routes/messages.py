"""The messages of a context: appended, paged backwards, replayed forwards."""

from typing import Final

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import requests
from api.asking import ask, existing, unanswered
from api.bodies import append_body
from api.counting import TokenCounter
from api.problems import invalid
from api.routing import json_response, reads, resource, writes
from schemas.limits import PAGE_MESSAGES_MAX
from streams.core.head import Head
from streams.core.outcome import Appended
from streams.core.undone import UndoneRange
from streams.core.view import range_json
from streams.store import Store

PAGE_DEFAULT: Final = 100


class MessageRoutes:
    """POST messages, GET tail, GET messages."""

    def __init__(self, store: Store, counter: TokenCounter) -> None:
        self._store = store
        self._counter = counter

    def routes(self) -> list[Route]:
        """What is served where."""
        path = "/v1/contexts/{id}"
        return [
            resource(
                f"{path}/messages",
                POST=writes(self._append),
                GET=reads(self._replay, query=("from_seq", "before_seq", "limit")),
            ),
            resource(f"{path}/tail", GET=reads(self._tail, query=("limit", "offset"))),
        ]

    async def _append(self, request: Request, key: str) -> Response:
        context_id = requests.context_id(request)
        data, single = await requests.body(request, append_body)
        head = await existing(self._store, context_id)
        counted = await self._counter.counted(data.messages, head.encoding)
        answered = await ask(self._store, context_id, key, replace(data, counted=counted))
        match answered.outcome:
            case Appended() as appended:
                return _appended(appended, single=single)
            case other:
                raise unanswered(other)

    async def _tail(self, request: Request) -> Response:
        context_id = requests.context_id(request)
        limit = _limit(request)
        offset = requests.number(request, "offset", 0)
        await existing(self._store, context_id)
        messages = await self._store.tail(context_id, offset, limit)
        return json_response(b'{"messages":[%b]}' % b",".join(messages))

    async def _replay(self, request: Request) -> Response:
        context_id = requests.context_id(request)
        limit = _limit(request)
        from_seq = requests.number(request, "from_seq", least=-requests.NUMBER_MAX)
        before_seq = requests.number(request, "before_seq", least=1)
        if from_seq is not None and before_seq is not None:
            raise invalid("give either from_seq or before_seq", "before_seq")
        if from_seq == 0:
            raise invalid("seqs begin at 1; a negative from_seq counts from the newest", "from_seq")
        head = await existing(self._store, context_id)
        if before_seq is None:
            first = _first(from_seq, head)
            last = min(first + limit - 1, head.last_seq)
            next_seq = last + 1 if first <= last < head.last_seq else None
        else:
            last = min(before_seq - 1, head.last_seq)
            first = max(1, last - limit + 1)
            next_seq = first if 1 < first <= last else None
        messages, undone = await self._page(context_id, first, last)
        return json_response(
            b'{"messages":[%b],"version":%d,"last_seq":%d,"next_seq":%b,"undone":%b}'
            % (
                messages,
                head.version,
                head.last_seq,
                b"null" if next_seq is None else b"%d" % next_seq,
                msgspec.json.encode([range_json(one) for one in undone]),
            )
        )

    async def _page(
        self, context_id: str, first: int, last: int
    ) -> tuple[bytes, list[UndoneRange]]:
        """The stored JSON of the messages, joined as it is, and what of them is undone; an empty
        range is an empty page."""
        if first > last:
            return b"", []
        # Before anything is waited for, so that it is of the same version as the head.
        undone = await self._store.undone(context_id, first, last)
        return b",".join(await self._store.messages(context_id, first, last)), undone


def _limit(request: Request) -> int:
    return requests.number(request, "limit", PAGE_DEFAULT, least=1, most=PAGE_MESSAGES_MAX)


def _first(from_seq: int | None, head: Head) -> int:
    if from_seq is None:
        return 1
    return from_seq if from_seq > 0 else max(1, head.last_seq + from_seq + 1)


def _appended(appended: Appended, *, single: bool) -> Response:
    answer: dict[str, object]
    if single:
        answer = {
            "seq": appended.first_seq,
            "version": appended.version,
            "token_estimate": appended.token_counts[0],
        }
    else:
        answer = {
            "first_seq": appended.first_seq,
            "last_seq": appended.last_seq,
            "version": appended.version,
            "token_estimates": appended.token_counts,
        }
    return json_response(msgspec.json.encode(answer), 201, replayed=appended.replayed)

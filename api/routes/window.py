"""The window of a context: what the model gets to see, and its compaction."""

from typing import Final

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import requests
from api.asking import ask, existing, unanswered
from api.bodies import compact_body
from api.counting import TokenCounter
from api.kept import KeptWindows
from api.problems import Problem, not_found
from api.rendering import format_of, rendered
from api.routing import json_response, reads, resource, writes
from schemas.limits import TOKEN_BUDGET_MAX
from schemas.policy import Manual
from streams.core.head import Head
from streams.core.outcome import Compacted
from streams.core.view import segment_json
from streams.core.window import Shown
from streams.store import Store, Unavailable

MIN_VERSION_WAIT_S: Final = 5.0
KEPT_BYTES_MAX: Final = 64 << 20


class WindowRoutes:
    """GET context, POST compact."""

    def __init__(self, store: Store, counter: TokenCounter) -> None:
        self._store = store
        self._counter = counter
        self._kept = KeptWindows(KEPT_BYTES_MAX)

    def routes(self) -> list[Route]:
        """What is served where."""
        path = "/v1/contexts/{id}"
        return [
            resource(
                f"{path}/context",
                GET=reads(
                    self._get, query=("budget_tokens", "if_version", "min_version", "format")
                ),
            ),
            resource(f"{path}/compact", POST=writes(self._compact)),
        ]

    async def _get(self, request: Request) -> Response:
        context_id = requests.context_id(request)
        budget = requests.number(request, "budget_tokens", least=1, most=TOKEN_BUDGET_MAX)
        if_version = requests.number(request, "if_version")
        min_version = requests.number(request, "min_version")
        kind = format_of(request)
        head = await existing(self._store, context_id)
        if min_version is not None and head.version < min_version:
            await self._wait_for(context_id, min_version)
            head = await existing(self._store, context_id)
        if kind is None and (body := self._kept.find(context_id, head, budget)) is not None:
            _check(if_version, head)
            return json_response(body)
        # Before the window: what is undone by now stays undone.
        undone = await self._store.undone(context_id, 1, 1) if kind is not None else []
        head, shown = await self._shown(context_id, budget)
        _check(if_version, head)
        rest = _rest(head, shown, head.token_budget if budget is None else budget)
        if kind is None:
            # The stored JSON of the messages is joined in as it is.
            messages = b'"messages":[%b]' % b",".join(shown.messages)
        else:
            messages = await rendered(kind, shown, begin=undone[0].to_seq + 1 if undone else 1)
        body = b'{"version":%d,%b,%b' % (head.version, messages, rest[1:])
        if kind is None:
            self._kept.keep(context_id, head, budget, body)
        return json_response(body)

    async def _wait_for(self, context_id: str, version: int) -> None:
        if not await self._store.at_version(context_id, version, MIN_VERSION_WAIT_S):
            raise Unavailable(
                f"the context has not reached version {version} within {MIN_VERSION_WAIT_S:g} s; "
                "ask again"
            )

    async def _shown(self, context_id: str, budget: int | None) -> tuple[Head, Shown]:
        """The window within the budget asked for, or else within the context's own."""
        own = _own_budget(await existing(self._store, context_id))
        while True:
            found = await self._store.show(context_id, own if budget is None else budget)
            if found is None:
                raise not_found(context_id)
            if budget is not None or _own_budget(found[0]) == own:
                return found
            # The settings changed between the two reads; an answer never mixes two versions.
            own = _own_budget(found[0])

    async def _compact(self, request: Request, key: str) -> Response:
        context_id = requests.context_id(request)
        data = await requests.body(request, compact_body)
        head = await existing(self._store, context_id)
        counted = await self._counter.counted(data.replacement, head.encoding)
        answered = await ask(self._store, context_id, key, replace(data, counted=counted))
        match answered.outcome:
            case Compacted(version=version, replayed=replayed):
                return json_response(b'{"version":%d}' % version, replayed=replayed)
            case other:
                raise unanswered(other)


def _check(if_version: int | None, head: Head) -> None:
    if if_version is not None and if_version != head.version:
        raise Problem(
            "conflict",
            f"if_version is {if_version}, the window is at version {head.version}; "
            "read it without if_version",
            version=head.version,
        )


def _own_budget(head: Head) -> int | None:
    """`manual` never drops anything by itself: no budget."""
    return None if isinstance(head.policy, Manual) else head.token_budget


def _rest(head: Head, shown: Shown, budget: int) -> bytes:
    """What is said of a window beside its messages."""
    rest: dict[str, object] = {
        "used_tokens": shown.used_tokens,
        "token_budget": budget,
        "needs_compaction": head.needs_compaction,
        "segments": [segment_json(segment) for segment in shown.segments],
    }
    if shown.over_budget:
        rest["over_budget"] = True
    return msgspec.json.encode(rest)

"""Messages taken back: they stay in the history, and leave the window and the tail."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import requests
from api.asking import ask, existing, unanswered
from api.bodies import undo_body
from api.routing import json_response, resource, writes
from streams.core.outcome import Undone
from streams.store import Store


class UndoRoutes:
    """POST undo."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """What is served where."""
        return [resource("/v1/contexts/{id}/undo", POST=writes(self._undo))]

    async def _undo(self, request: Request, key: str) -> Response:
        context_id = requests.context_id(request)
        data = await requests.body(request, undo_body)
        await existing(self._store, context_id)
        answered = await ask(self._store, context_id, key, data)
        match answered.outcome:
            case Undone() as undone:
                return json_response(_undone(undone), replayed=undone.replayed)
            case other:
                raise unanswered(other)


def _undone(undone: Undone) -> bytes:
    """Where nothing was left to undo there are no seqs."""
    return msgspec.json.encode(
        {
            "version": undone.version,
            "undone": undone.undone,
            "from_seq": undone.from_seq or None,
            "to_seq": undone.to_seq or None,
        }
    )

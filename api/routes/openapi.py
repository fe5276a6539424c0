"""The document of all of this."""

from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routing import json_response, reads, resource

DOCUMENT: Final = resources.files("schemas").joinpath("openapi.json")


class OpenApiRoutes:
    """GET /openapi.json."""

    def __init__(self) -> None:
        self._document = DOCUMENT.read_bytes()

    def routes(self) -> list[Route]:
        """What is served where."""
        return [resource("/openapi.json", GET=reads(self._get))]

    async def _get(self, _request: Request) -> Response:
        return json_response(self._document)

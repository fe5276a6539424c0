"""What Prometheus asks for."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routing import reads, resource
from streams.metrics import CONTENT_TYPE, Metrics


class MetricsRoutes:
    """GET /metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """What is served where."""
        return [resource("/metrics", GET=reads(self._get))]

    async def _get(self, _request: Request) -> Response:
        # Set as it stands: the framework would add a charset of its own.
        return Response(self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

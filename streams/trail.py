"""The trail of the request at hand, for whoever works or speaks on its behalf."""

from contextvars import ContextVar
from typing import Final

from schemas.trail import NO_TRAIL, Trail

TRAIL: Final[ContextVar[Trail]] = ContextVar("trail", default=NO_TRAIL)
"""What the events of the request are to carry, and the lines that are logged meanwhile."""

"""Logs: one line an event on standard error, ours and the libraries'.

JSON, unless somebody looks on at a terminal. Each line has `timestamp`, `level` and `event`, and
where they apply `request_id`, `context_id`, `seq`, `partition`, `offset`. What messages say is
never in it.
"""

import logging
import sys
import time
from collections.abc import Callable
from typing import Final, Literal

import structlog
from pydantic_settings import BaseSettings, SettingsConfigDict
from structlog.typing import EventDict, Processor

from rewindow.settings import read_settings
from streams.trail import TRAIL

REPEATED_EVERY_S: Final = 30.0
COMPLAINTS_MAX: Final = 1000
FIRST: Final = ("timestamp", "level", "event")


class LogSettings(BaseSettings):
    """`auto`: for people where standard error is a terminal, JSON lines otherwise."""

    model_config = SettingsConfigDict(env_prefix="REWINDOW_", extra="ignore", frozen=True)

    log_format: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Sparing(logging.Filter):
    """Lets the same complaint through every 30 seconds, with how often it came meanwhile: while the
    broker is away, Kafka's clients repeat themselves dozens of times a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._held: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let it through. What differs between two of the same is in their arguments."""
        complaint, now = (record.name, str(record.msg)), self._clock()
        until, times = self._held.get(complaint, (now, 0))
        if now < until:
            self._held[complaint] = (until, times + 1)
            return False
        if len(self._held) >= COMPLAINTS_MAX:
            self._held.clear()
        self._held[complaint] = (now + REPEATED_EVERY_S, 0)
        if times:
            record.repeated = times
        return True


def configure_logs(settings: LogSettings | None = None) -> None:
    """Libraries speak from a warning upwards; what they say goes through the same renderer.

    Raises `CannotStart` where the environment asks for something else than there is.
    """
    settings = read_settings(LogSettings) if settings is None else settings
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        with_request,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    for_people = settings.log_format == "console" or (settings.log_format == "auto" and terminal)
    rendered = [_tidy, *(_for_people(terminal) if for_people else _as_json())]
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # It writes a line at once; two threads never mix theirs.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Sparing())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
            foreign_pre_chain=[
                *shared,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(allow=["repeated"]),
            ],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.captureWarnings(True)


def _for_people(terminal: bool) -> list[Processor]:
    # The prettier traces print local variables, which may hold what was said.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain)]


def _as_json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def with_request(_logger: object, _method: str, line: EventDict) -> EventDict:
    """The request that is being answered, where there is one, whoever speaks."""
    line.setdefault("request_id", TRAIL.get().request_id)
    return line


def _tidy(_logger: object, _method: str, line: EventDict) -> EventDict:
    """What every line has comes first; what does not apply is left out."""
    rest = {name: value for name, value in line.items() if name not in FIRST and value is not None}
    return {name: line[name] for name in FIRST} | rest

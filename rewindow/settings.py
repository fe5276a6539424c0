"""What the commands are told by flags or by the environment."""

import socket
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field, PositiveInt, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.access import AccessRules
from api.admission import REQUESTS_MAX
from api.live import LiveRules
from rewindow.errors import CannotStart
from streams.settings import StreamSettings

EVERYWHERE: Final = ("0.0.0.0", "::", "")

S = TypeVar("S", bound=BaseSettings)

Port = Annotated[int, Field(ge=1, le=65_535)]


class NodeSettings(StreamSettings):
    """One node: its streams, and where it listens."""

    host: str = "127.0.0.1"
    port: Port = 4000

    @model_validator(mode="before")
    @classmethod
    def _reached_where_it_listens(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Other nodes reach this one where it listens, unless they are told another address."""
        host, port = given.get("host", "127.0.0.1"), given.get("port", 4000)
        reached = socket.gethostname() if host in EVERYWHERE else host
        return {"url": f"http://{reached}:{port}"} | given

    moving_patience_s: Annotated[float, Field(ge=0, le=60)] = 10.0
    """How long a request may wait for a context that moves from one node to another."""
    api_keys: SecretStr | None = None
    """Separated by commas; none: everybody may ask."""
    rate_limit: PositiveInt | None = None
    """Requests a second, for each key."""
    requests_max: PositiveInt = REQUESTS_MAX
    """How many reads, and how many writes, are at work at a time."""
    stream_max_connections: PositiveInt = 512
    stream_ping_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    stream_idle_s: Annotated[float, Field(gt=0, le=3600)] = 90.0

    def access(self) -> AccessRules:
        """Who may ask, and how often."""
        written = "" if self.api_keys is None else self.api_keys.get_secret_value()
        keys = tuple(key for key in map(str.strip, written.split(",")) if key)
        return AccessRules(keys, self.rate_limit)

    def live(self) -> LiveRules:
        """How live streams are kept."""
        return LiveRules(self.stream_max_connections, self.stream_ping_s, self.stream_idle_s)


class UpSettings(BaseSettings):
    """Everything on one machine. Flags of `rewindow up` come before the environment."""

    model_config = SettingsConfigDict(env_prefix="REWINDOW_", extra="ignore", frozen=True)

    port: Port = 4000
    data: Path = Path("./.rewindow")
    partitions: Annotated[int, Field(ge=1, le=1000)] = 4
    nodes: Annotated[int, Field(ge=1, le=16)] = 1
    brokers: Annotated[int, Field(ge=1, le=5)] = 1
    no_postgres: bool = False


def read_settings(kind: type[S], **flags: Any) -> S:
    """What the environment says, and before it the flags; None is a flag that was not given.

    Raises `CannotStart`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind(**given)
    except ValidationError as exc:
        # What was given is left out of the sentence: it may be a password.
        raise CannotStart(
            "; ".join(
                f"{_written(str(error['loc'][0]), given)} can't be used: {error['msg']}"
                for error in exc.errors()
            )
        ) from None


def _written(name: str, flags: dict[str, object]) -> str:
    return f"--{name.replace('_', '-')}" if name in flags else f"REWINDOW_{name.upper()}"

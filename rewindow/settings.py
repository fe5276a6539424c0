"""What the commands are told by flags or by the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.settings import StreamSettings

Port = Annotated[int, Field(ge=1, le=65_535)]


class NodeSettings(StreamSettings):
    """One node: its streams, and where it listens."""

    host: str = "127.0.0.1"
    port: Port = 4000


class UpSettings(BaseSettings):
    """Everything on one machine. Flags of `rewindow up` come before the environment."""

    model_config = SettingsConfigDict(env_prefix="REWINDOW_", extra="ignore", frozen=True)

    port: Port = 4000
    data: Path = Path("./.rewindow")
    partitions: Annotated[int, Field(ge=1, le=1000)] = 4
    no_postgres: bool = False

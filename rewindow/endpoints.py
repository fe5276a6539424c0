"""`endpoints.json`: where all that `rewindow up` started listens, for any tool to join in."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from rewindow.errors import CannotStart


class NodeAt(Struct, frozen=True):
    """A node and its process."""

    url: str
    pid: int


class BrokerAt(Struct, frozen=True):
    """A broker and its process."""

    address: str
    pid: int


class Endpoints(Struct, frozen=True):
    """The whole file."""

    http: list[str]
    kafka: str
    postgres: str | None
    nodes: list[NodeAt]
    brokers: list[BrokerAt]


def write_endpoints(data: Path, endpoints: Endpoints) -> None:
    """Replace the file in one step; it holds a password, and is for its owner alone."""
    new = data / "endpoints.json.new"
    new.touch(mode=0o600)
    new.write_bytes(msgspec.json.format(msgspec.json.encode(endpoints), indent=2))
    os.replace(new, data / "endpoints.json")


def read_endpoints(data: Path) -> Endpoints:
    """What the running `up` wrote. Raises `CannotStart` where there is none."""
    try:
        return msgspec.json.decode((data / "endpoints.json").read_bytes(), type=Endpoints)
    except FileNotFoundError:
        raise CannotStart(
            f"nothing runs in {data}; start `rewindow up`, or say where with --url or --data"
        ) from None

"""One broker and one Postgres for the whole run, however many processes share its tests; a prefix
and a database for each test."""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from rewindow.embedded.postgres import Postgres
from tests.support.servers import held, new_kafka, running

DATA_DIR_DEFAULT = Path(__file__).parents[2] / "shared" / "data"


SERVERS = pytest.StashKey[ExitStack]()
SHARED = pytest.StashKey[dict[str, str]]()


@contextmanager
def broker(path: Path) -> Iterator[str]:
    """`host:port` of a broker that runs until the end."""
    with held(path) as folder, running(new_kafka(folder)) as server:
        yield server.address


@contextmanager
def postgres(path: Path) -> Iterator[str]:
    """The URL of a Postgres that runs until the end, as its superuser."""
    with held(path) as folder, running(Postgres(folder)) as server:
        yield server.url


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Before there are processes that run tests: they all get the same servers."""
    stack = config.stash[SERVERS] = ExitStack()
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="rewindow-tests-")))
    config.stash[SHARED] = {
        "kafka": stack.enter_context(broker(folder / "kafka")),
        "postgres_url": stack.enter_context(postgres(folder / "postgres")),
    }


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell such a process where they are."""
    node.workerinput |= node.config.stash[SHARED]


def pytest_unconfigure(config: pytest.Config) -> None:
    """The end of it all."""
    config.stash.get(SERVERS, ExitStack()).close()


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """`host:port` of a broker that every test shares: take topics of your own, by `prefix`."""
    if (shared := _shared(request, "kafka")) is not None:
        yield shared
    else:
        with broker(tmp_path_factory.mktemp("kafka")) as address:
            yield address


@pytest.fixture(scope="session")
def postgres_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server that every test shares, as its superuser: take a `database` of your own."""
    if (shared := _shared(request, "postgres_url")) is not None:
        yield shared
    else:
        with postgres(tmp_path_factory.mktemp("postgres")) as url:
            yield url


def _shared(request: pytest.FixtureRequest, name: str) -> str | None:
    """What runs already for all processes, where there are several."""
    told: dict[str, str] = getattr(request.config, "workerinput", {})
    return told.get(name)


@pytest.fixture
def prefix() -> str:
    """What the names of this test's topics begin with."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database, dropped afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real transcripts: `REWINDOW_DATA_DIR`, `../shared/data` beside this repository by default."""
    folder = Path(os.environ.get("REWINDOW_DATA_DIR", DATA_DIR_DEFAULT))
    if not folder.is_dir():
        pytest.skip(f"no transcripts in {folder}; set REWINDOW_DATA_DIR to the folder with them")
    return folder

"""One broker and one Postgres for the whole run; a prefix and a database for each test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from rewindow.embedded.postgres import Postgres
from tests.support.servers import held, new_kafka, running

DATA_DIR_DEFAULT = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a broker that every test shares: take topics of your own, by `prefix`."""
    with held(tmp_path_factory.mktemp("kafka")) as folder, running(new_kafka(folder)) as broker:
        yield broker.address


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that every test shares, as its superuser: take a `database` of your own."""
    with held(tmp_path_factory.mktemp("postgres")) as folder, running(Postgres(folder)) as server:
        yield server.url


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

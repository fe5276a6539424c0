"""The schema comes about once, whoever begins, and nothing is done to a database that is unfit."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from streams.archive.errors import ArchiveUnfit
from streams.archive.migrations import migrate, migrations


def test_numbers_follow_each_other() -> None:
    assert [m.number for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_an_empty_database_gets_everything_and_a_second_run_nothing(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        assert migrate(connection) == [m.name for m in migrations()]
        assert migrate(connection) == []
        applied = connection.execute("select number, name from archive_migrations order by 1")
        assert applied.fetchall() == [(m.number, m.name) for m in migrations()]


def test_of_many_nodes_that_start_at_once_one_migrates(database: str) -> None:
    def start(_node: int) -> list[str]:
        with psycopg.connect(database, autocommit=True) as connection:
            return migrate(connection)

    with ThreadPoolExecutor(8) as nodes:
        done = list(nodes.map(start, range(8)))
    assert sorted(done, key=len)[-1] == [m.name for m in migrations()]
    assert sum(map(len, done)) == len(migrations())


def test_a_newer_database_is_refused_with_what_to_do(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
        connection.execute("insert into archive_migrations values (9999, '9999_from_the_future')")
        with pytest.raises(ArchiveUnfit, match=r"has migration 9999.*run the newer Rewindow"):
            migrate(connection)


def test_a_database_that_is_not_utf8_is_refused_with_what_to_do(database: str) -> None:
    parts = urlsplit(database)
    name = parts.path[1:] + "_ascii"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            f"create database {name} encoding 'SQL_ASCII' template template0 "
            "lc_collate 'C' lc_ctype 'C'".encode()
        )
        try:
            url = urlunsplit(parts._replace(path=f"/{name}"))
            with (
                psycopg.connect(url, autocommit=True) as connection,
                pytest.raises(ArchiveUnfit, match=r"SQL_ASCII.*ENCODING 'UTF8'"),
            ):
                migrate(connection)
        finally:
            admin.execute(f"drop database {name} with (force)".encode())

"""The archive's schema, brought up to date by whichever node connects first."""

from importlib.resources import files
from typing import Any, Final, NamedTuple

import psycopg
import structlog

from streams.archive.errors import ArchiveUnfit

log = structlog.get_logger()

LOCK: Final = 0x7265_7769_6E64
"""The advisory lock of this job ("rewind" in ASCII): one node migrates, the others wait."""


class Migration(NamedTuple):
    """One file of `schemas/sql/`, which never changes once it was released."""

    number: int
    name: str
    sql: bytes


def migrations() -> list[Migration]:
    """Those that this program knows, in order."""
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_bytes())
        for file in files("schemas").joinpath("sql").iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found)


def migrate(connection: psycopg.Connection[Any]) -> list[str]:
    """Apply what is missing, all of it or nothing; returns the names of what was applied.

    Several nodes may do this at once. Raises `ArchiveUnfit` where the database is not UTF-8, or was
    migrated by a newer program.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ArchiveUnfit(
            f"the database's encoding is {encoding}, which can't hold every message; "
            "create one with ENCODING 'UTF8' and set REWINDOW_POSTGRES to it"
        )
    known = migrations()
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        applied = _applied(connection)
        if applied > known[-1].number:
            raise ArchiveUnfit(
                f"the database has migration {applied}, this program knows up to "
                f"{known[-1].number}; run the newer Rewindow that migrated it"
            )
        missing = [migration for migration in known if migration.number > applied]
        for migration in missing:
            connection.execute(migration.sql)
            connection.execute(
                "insert into archive_migrations (number, name) values (%s, %s)",
                (migration.number, migration.name),
            )
    for migration in missing:
        log.info("the archive's schema was migrated", migration=migration.name)
    return [migration.name for migration in missing]


def _applied(connection: psycopg.Connection[Any]) -> int:
    """The number of the newest migration that the database has, 0 for an empty one."""
    if connection.execute("select to_regclass('archive_migrations')").fetchone() == (None,):
        return 0
    (newest,) = connection.execute("select max(number) from archive_migrations").fetchone() or (0,)
    return int(newest)

"""How both sides of the archive connect to Postgres, and how they speak of its errors."""

from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from streams.archive.errors import ArchiveUnfit

CONNECT_S: Final = 5
REASON_CHARS_MAX: Final = 200


def conninfo_of(url: str, application: str) -> str:
    """What psycopg connects by: a dead peer is noticed, text is UTF-8. Raises `ArchiveUnfit`."""
    try:
        return make_conninfo(
            url,
            application_name=application,
            client_encoding="utf8",
            connect_timeout=CONNECT_S,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
    except psycopg.Error:
        # The complaint may quote the address, and with it the password.
        raise ArchiveUnfit(
            "REWINDOW_POSTGRES is not an address of a database; write it as "
            "postgresql://user:password@host:port/database"
        ) from None


def reason_of(exc: psycopg.Error) -> str:
    """What Postgres says, in a line, without the messages that its details may quote."""
    said = exc.diag.message_primary or str(exc) or type(exc).__name__
    return said.strip().splitlines()[0][:REASON_CHARS_MAX]

"""What the archive can't do, and what to do about it."""

from streams.store import Unavailable


class ArchiveUnfit(Exception):
    """The database, or its address, can't be used as it is; the message says what to change."""


class ArchiveUnavailable(Unavailable):
    """Postgres does not answer now; it is worth asking again."""

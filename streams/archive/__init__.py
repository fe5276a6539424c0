"""The archive: everything that was ever said, in Postgres."""

"""The archive's SQL, by name, as it stands in `queries.sql`."""

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _named(text: str) -> dict[str, bytes]:
    _, *found = _NAME.split(text)
    # psycopg takes bytes for text that no user had a hand in.
    return {
        name: sql.strip().removesuffix(";").encode()
        for name, sql in zip(found[::2], found[1::2], strict=True)
    }


QUERIES: Final = _named((files("streams.archive") / "queries.sql").read_text())

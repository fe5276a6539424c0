"""The contracts as files under `schemas/`, made from the code: `make contracts` writes them."""

import json
from pathlib import Path
from typing import Final

from api.openapi.document import openapi
from api.shapes import READERS
from schemas.asyncapi import asyncapi
from schemas.json_schema import Json
from schemas.records import event_schemas, fact_schemas

FOLDER: Final = Path(__file__).parents[1] / "schemas"


def contracts() -> dict[str, str]:
    """The text of each file, by its path under `schemas/`."""
    records = event_schemas(READERS) | fact_schemas(READERS)
    return {
        "openapi.json": _text(openapi()),
        "asyncapi.json": _text(asyncapi(records)),
        **{f"json/{name}.schema.json": _text(schema) for name, schema in records.items()},
    }


def committed(folder: Path = FOLDER) -> dict[str, str]:
    """The files that are there, by the same paths."""
    paths = (*folder.glob("*.json"), *folder.glob("json/*.json"))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def write(folder: Path = FOLDER) -> None:
    """Make the files what they should be; one that stands for nothing goes."""
    made = contracts()
    for stale in committed(folder).keys() - made.keys():
        (folder / stale).unlink()
    for name, text in made.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def _text(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write()

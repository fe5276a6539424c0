"""JSON Schema, as tests ask it."""

import copy
from typing import Any

import jsonschema_rs

Json = dict[str, Any]
FREE = ("Part", "Event")
"""What may always hold more than is listed."""


def validator(schema: Json) -> jsonschema_rs.Validator:
    """A validator of a whole document."""
    return jsonschema_rs.validator_for(schema)


def closed(document: Json, at: tuple[str, ...]) -> Json:
    """The same document, by which nothing has more fields than are listed: a reader has to put up
    with new ones, but what we write ourselves has to be in the document. `at`: its components."""
    document = copy.deepcopy(document)
    schemas = document
    for name in at:
        schemas = schemas[name]
    for name, schema in schemas.items():
        if "properties" in schema and name not in FREE:
            schema["additionalProperties"] = False
    return document


def references(document: Any) -> set[str]:
    """Every `$ref` in a document."""
    match document:
        case {"$ref": str(target), **rest}:
            return {target} | references(rest)
        case dict():
            return set().union(*map(references, document.values()))
        case list():
            return set().union(*map(references, document))
        case _:
            return set()


def resolved(document: Json, reference: str) -> Any:
    """What a reference within the document points to. Raises `KeyError` where that is nothing."""
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found

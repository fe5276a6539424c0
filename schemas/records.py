"""The JSON Schema of every log event and every fact: the whole CloudEvent, as strict as the codec.

What a schema can't say, the codec says: bytes instead of characters, sizes, nesting, doubled keys.
"""

from typing import Annotated, Final

from msgspec import Meta

from schemas.codec import SPEC_VERSION
from schemas.events import EVENT_TYPES, ArchiveAdvanced, Seq
from schemas.facts import FACT_TYPES
from schemas.json_schema import CONTEXT_ID, EVENT_ID, Components, Instead, Json
from schemas.limits import REQUEST_ID_CHARS_MAX, WATERMARKS_PER_EVENT_MAX

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
FACT_SOURCE: Final = "/rewindow/fold"

_FACT_ID: Final[Json] = {
    "type": "string",
    "description": "partition.offset.number of the log record that it came of",
    "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+$",
}
_OWN: Final[Instead] = {
    (ArchiveAdvanced, "watermarks"): Annotated[
        tuple[tuple[Annotated[str, Meta(extra_json_schema=CONTEXT_ID)], Seq], ...],
        Meta(max_length=WATERMARKS_PER_EVENT_MAX),
    ]
}
_EVENT_EXTRAS: Final[Json] = {
    "time": {"description": "not looked at: the clock that counts is the broker's"},
    "requestid": {
        "description": f"1 to {REQUEST_ID_CHARS_MAX} visible ASCII characters, carried on to the "
        "facts; anything else counts as left out"
    },
    "traceparent": {
        "description": "W3C Trace Context, carried on; anything else counts as left out"
    },
}
_FACT_EXTRAS: Final[Json] = {
    "requestid": {
        "type": "string",
        "description": "of the HTTP request that the event comes from, where it came by HTTP",
        "pattern": f"^[!-~]{{1,{REQUEST_ID_CHARS_MAX}}}$",
    },
    "traceparent": {
        "type": "string",
        "description": "W3C Trace Context",
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
    },
}


def event_schemas(instead: Instead) -> dict[str, Json]:
    """One schema for each type of `rewindow.log`, by its name. `instead`: see `Components`."""
    schemas = {}
    for name, kind in EVENT_TYPES.items():
        # Watermarks name their contexts in the data; their subject only chooses the partition.
        subject = {"type": "string"} if kind is ArchiveAdvanced else CONTEXT_ID
        envelope = {"id": EVENT_ID, "source": {"type": "string"}, "subject": subject}
        schemas[name] = _schema(name, kind, envelope, _EVENT_EXTRAS, instead)
    return schemas


def fact_schemas(instead: Instead) -> dict[str, Json]:
    """One schema for each type of `rewindow.facts`, by its name."""
    envelope: Json = {"id": _FACT_ID, "source": {"const": FACT_SOURCE}, "subject": CONTEXT_ID}
    return {
        name: _schema(name, kind, envelope, _FACT_EXTRAS, instead)
        for name, kind in FACT_TYPES.items()
    }


def _schema(name: str, kind: type, envelope: Json, extras: Json, instead: Instead) -> Json:
    components = Components("#/definitions/", {**_OWN, **instead})
    data = components.of(kind)
    definitions = components.found()
    described = definitions[kind.__name__]["description"]
    own = {"specversion": {"const": SPEC_VERSION}, **envelope, "type": {"const": name}}
    return {
        "$schema": DRAFT,
        "$id": f"urn:rewindow:{name}",
        "title": name,
        "description": described,
        "type": "object",
        "properties": {**own, **extras, "data": data},
        "required": [*own, "data"],
        "definitions": definitions,
    }

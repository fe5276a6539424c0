"""What a request may carry beside its body, and what an answer carries beside its own."""

from typing import Final

from api.requests import NUMBER_MAX
from api.routes.contexts import LISTED_DEFAULT
from api.routes.messages import PAGE_DEFAULT
from formats.rendering import RENDERERS
from schemas.json_schema import CONTEXT_ID, EVENT_ID, Json
from schemas.limits import (
    CONTEXT_ID_BYTES_MAX,
    PAGE_CONTEXTS_MAX,
    PAGE_MESSAGES_MAX,
    REQUEST_ID_CHARS_MAX,
    TOKEN_BUDGET_MAX,
)

# White space around a header's value is none of it.
_KEY: Final[Json] = EVENT_ID | {"pattern": "^[!-~]([ -~]*[!-~])?$"}


def query(name: str, description: str, schema: Json) -> Json:
    """A parameter of the query; each may be there once."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def number(
    name: str,
    description: str,
    *,
    least: int = 0,
    most: int = NUMBER_MAX,
    default: int | None = None,
) -> Json:
    """A whole number of the query."""
    schema: Json = {"type": "integer", "minimum": least, "maximum": most}
    return query(name, description, schema if default is None else schema | {"default": default})


def _id_part(name: str, description: str) -> Json:
    return query(name, description, {"type": "string", "maxLength": CONTEXT_ID_BYTES_MAX})


PREFIX: Final = _id_part("prefix", "what the ids begin with")
AFTER: Final = _id_part("after", "the `next` of the page before")
CONTEXTS_LIMIT: Final = number(
    "limit", "how many contexts", least=1, most=PAGE_CONTEXTS_MAX, default=LISTED_DEFAULT
)
MESSAGES_LIMIT: Final = number(
    "limit", "how many messages", least=1, most=PAGE_MESSAGES_MAX, default=PAGE_DEFAULT
)
OFFSET: Final = number("offset", "how many of the newest messages to pass over", default=0)
BEFORE_SEQ: Final = number("before_seq", "the page ends before this seq", least=1)
FROM_SEQ: Final = query(
    "from_seq",
    "the page begins with this seq, 1 by default, or with the n-th newest for -n; not together "
    "with `before_seq`",
    {"type": "integer", "minimum": -NUMBER_MAX, "maximum": NUMBER_MAX, "not": {"const": 0}},
)
BUDGET_TOKENS: Final = number(
    "budget_tokens", "a budget for this read only", least=1, most=TOKEN_BUDGET_MAX
)
IF_VERSION: Final = number("if_version", "409 where the window has another version")
FORMAT: Final = query(
    "format",
    "the window in the shape of a provider, instead of the messages as they are stored",
    {"type": "string", "enum": list(RENDERERS)},
)
MIN_VERSION: Final = number("min_version", "wait up to 5 s for this version, else 503")
CURSOR: Final = number("cursor", "the last version seen; 0: from the beginning; none: from now on")
INCLUDE_MESSAGES: Final = query(
    "include_messages", "whether messages are told too", {"type": "boolean", "default": True}
)

PARAMETERS: Final[dict[str, Json]] = {
    "Id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "the context's id, percent-encoded",
        "schema": CONTEXT_ID,
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "makes it safe to ask again; a new one is used where it is left out",
        "schema": _KEY,
    },
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "the `id` of the last event seen; comes before `cursor`",
        "schema": {"type": "string", "pattern": "^[0-9]{0,18}$"},
    },
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": f"up to {REQUEST_ID_CHARS_MAX} visible ASCII characters that come back, and "
        "stand in every log line and in the event and its facts; else a new one is made",
        "schema": {"type": "string"},
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "W3C Trace Context, carried on to the event and its facts",
        "schema": {"type": "string"},
    },
}

HEADERS: Final[dict[str, Json]] = {
    "IdempotencyKey": {
        "description": "the key to ask again with",
        "required": True,
        "schema": _KEY,
    },
    "IdempotentReplayed": {
        "description": "the answer was given before, under the same key",
        "schema": {"const": "true"},
    },
    "RequestId": {
        "description": "names the request in the logs",
        "required": True,
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "seconds",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Stale": {
        "description": "the broker does not answer: this is what was known before",
        "schema": {"const": "true"},
    },
    "Authenticate": {
        "description": "what is wanted",
        "required": True,
        "schema": {"const": "Bearer"},
    },
}

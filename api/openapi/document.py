"""The document: the table of operations, spelt out as OpenAPI 3.1."""

from collections import defaultdict
from http import HTTPStatus
from typing import Final

from msgspec import inspect

from api.openapi.operations import CONTEXT, EVENT_STREAM, OPERATIONS, Operation, Refusals, Shape
from api.openapi.parameters import HEADERS, PARAMETERS
from api.problems import STATUS
from api.shapes import READERS, Frame
from schemas.json_schema import Components, Json, name_of

SCHEMAS: Final = "#/components/schemas/"
INFO: Final = {
    "title": "Rewindow",
    "version": "1.0.0",
    "summary": "An event-sourced context store for LLM conversations",
    "description": "HEAD works wherever GET does; another method is 405 with the header Allow. "
    "The content type of a request is not looked at. A parameter or a top-level field that is not "
    "listed here is 400.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
_JSON: Final = "application/json"
_CONTENT: Final[dict[str, Json]] = {
    _JSON: {"type": "object"},
    "text/plain": {"type": "string"},
    # Before OpenAPI 3.2 the schema of a stream is that of each of its events.
    EVENT_STREAM: {"$ref": f"{SCHEMAS}Event"},
}
_EVENT: Final[Json] = {
    "type": "object",
    "description": "A server-sent event; `id` is the version to come back with",
    "properties": {
        "id": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": _JSON,
            "contentSchema": {"$ref": f"{SCHEMAS}Frame"},
        },
    },
    "required": ["data"],
}


def openapi() -> Json:
    """All of it, in a stable order."""
    return _Document().whole()


class _Document:
    def __init__(self) -> None:
        self._schemas = Components(SCHEMAS, READERS)
        self._responses: dict[str, Json] = {}

    def whole(self) -> Json:
        paths: defaultdict[str, Json] = defaultdict(dict)
        for operation in OPERATIONS:
            paths[operation.path][operation.method] = self._operation(operation)
        frame = self._schemas.of(Frame)
        return {
            "openapi": "3.1.0",
            "info": INFO,
            "servers": [{"url": "http://127.0.0.1:4000", "description": "rewindow up"}],
            "security": [{}, {"key": []}],
            "paths": dict(paths),
            "components": {
                "schemas": {**self._schemas.found(), "Event": _EVENT, "Frame": frame},
                "responses": dict(sorted(self._responses.items())),
                "parameters": PARAMETERS,
                "headers": HEADERS,
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "wanted where REWINDOW_API_KEYS is set, but of /health/*",
                    }
                },
            },
        }

    def _operation(self, asked: Operation) -> Json:
        operation: Json = {"operationId": asked.name, "summary": asked.summary}
        if asked.open:
            operation["security"] = [{}]
        parameters = [*self._shared(asked), *asked.query]
        if asked.body is not None:
            content = {_JSON: {"schema": self._schema(asked.body)}}
            # Of all bodies only the settings may be left out: none is changed then.
            operation["requestBody"] = {"required": asked.method != "put", "content": content}
        operation["parameters"] = parameters
        operation["responses"] = self._answers(asked) | self._refusals(asked)
        return operation

    def _shared(self, asked: Operation) -> list[Json]:
        names = [*asked.headers, "RequestId", "Traceparent"]
        if asked.path.startswith(CONTEXT):
            names.insert(0, "Id")
        if asked.writes:
            names.append("IdempotencyKey")
        return [{"$ref": f"#/components/parameters/{name}"} for name in names]

    def _answers(self, asked: Operation) -> Json:
        return {str(status): self._answer(asked, status) for status in asked.answers}

    def _answer(self, asked: Operation, status: int) -> Json:
        kind = asked.answers[status]
        headers = _headers(asked.writes)
        if asked.body is not None:
            headers["Idempotent-Replayed"] = _header("IdempotentReplayed")
        elif not asked.writes and asked.path.startswith("/v1/"):
            headers["Rewindow-Stale"] = _header("Stale")
        answer: Json = {"description": HTTPStatus(status).phrase, "headers": headers}
        if isinstance(kind, str):
            answer["content"] = {kind: {"schema": _CONTENT[kind]}}
        elif kind is not None:
            answer["content"] = {_JSON: {"schema": self._schema(kind)}}
        return answer

    def _refusals(self, asked: Operation) -> Json:
        by_status: defaultdict[int, list[type]] = defaultdict(list)
        for kind in asked.refusals:
            by_status[STATUS[_code(kind)]].append(kind)
        return {
            str(int(status)): self._refusal(tuple(kinds), writes=asked.writes)
            for status, kinds in sorted(by_status.items())
        }

    def _refusal(self, kinds: Refusals, *, writes: bool) -> Json:
        """A reference to the response, which is made where nobody has needed it before."""
        name = "Or".join(map(name_of, kinds)) + ("OfWrite" if writes else "")
        headers = _headers(writes)
        if any("retry_after" in kind.__annotations__ for kind in kinds):
            headers["Retry-After"] = _header("RetryAfter")
        codes = [_code(kind) for kind in kinds]
        if "unauthorized" in codes:
            headers["WWW-Authenticate"] = _header("Authenticate")
        self._responses[name] = {
            "description": " or ".join(codes),
            "headers": headers,
            "content": {_JSON: {"schema": self._schema(kinds if kinds[1:] else kinds[0])}},
        }
        return {"$ref": f"#/components/responses/{name}"}

    def _schema(self, shape: Shape) -> Json:
        if isinstance(shape, tuple):
            return {"oneOf": [self._schemas.of(kind) for kind in shape]}
        return self._schemas.of(shape)


def _code(kind: type) -> str:
    """The error code of a refusal."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return str(info.tag)


def _headers(writes: bool) -> Json:
    headers = {"X-Request-Id": _header("RequestId")}
    return headers | ({"Idempotency-Key": _header("IdempotencyKey")} if writes else {})


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}

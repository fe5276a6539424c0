"""JSON Schemas of the structs that our contracts are made of: plain data, from the types alone.

They hold for draft-07, which AsyncAPI wants, and for 2020-12, which OpenAPI 3.1 wants: no keyword
stands beside a `$ref`. Only a tuple is told in the words of draft-07; no answer of HTTP has one.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct, inspect

from schemas.events import NULL
from schemas.limits import CONTEXT_ID_BYTES_MAX, EVENT_ID_CHARS_MAX

Json = dict[str, Any]
Instead = Mapping[tuple[type, str], object]
"""What a struct's field holds, where its own type does not tell."""

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f"

EVENT_ID: Final[Json] = {
    "type": "string",
    "minLength": 1,
    "maxLength": EVENT_ID_CHARS_MAX,
    "pattern": f"^[^{_CONTROL}]*$",
}
CONTEXT_ID: Final[Json] = {
    "type": "string",
    "description": f"1 to {CONTEXT_ID_BYTES_MAX} bytes of UTF-8, no '/', no control characters",
    "minLength": 1,
    "maxLength": CONTEXT_ID_BYTES_MAX,
    "pattern": f"^[^/{_CONTROL}]*$",
}


class Part(Struct):
    """One part of a message: its type, and beside it anything, which is kept to the letter."""

    type: Annotated[str, Meta(min_length=1)]


_FREE: Final[Mapping[str, object]] = {
    "parts": Annotated[list[Part], Meta(min_length=1)],
    "metadata": dict[str, Any],
}
"""What JSON that we keep to the letter has to be, by the name of its field."""

_BOUNDS: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "pattern": "pattern",
}


class Components:
    """The schemas of structs, collected under their names while types are translated.

    `at` is where the document will hold them, such as `#/$defs/`.
    """

    def __init__(self, at: str, instead: Instead) -> None:
        self._at = at
        self._instead = instead
        self._found: dict[str, Json] = {}

    def of(self, kind: object) -> Json:
        """The schema of a type; of a struct, a reference to its component."""
        return self._of(inspect.type_info(kind))

    def found(self) -> dict[str, Json]:
        """Every component so far, by name."""
        return dict(sorted(self._found.items()))

    def _of(self, info: inspect.Type) -> Json:
        match info:
            case inspect.StructType():
                return self._ref(info)
            case inspect.UnionType(types=types):
                return self._one_of(types)
            case inspect.Metadata(type=inner, extra_json_schema=extra):
                return _narrowed(self._of(inner), extra or {})
            case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
                return {"type": "array", "items": self._of(item)} | _sizes(info, "Items")
            case inspect.TupleType(item_types=items):
                return self._tuple(items)
            case inspect.DictType(value_type=value):
                values = self._of(value)
                return {"type": "object"} | ({"additionalProperties": values} if values else {})
            case _:
                return _scalar(info)

    def _ref(self, info: inspect.StructType) -> Json:
        name = name_of(info.cls)
        if name not in self._found:
            self._found[name] = self._struct(info)
        return {"$ref": self._at + name}

    def _struct(self, info: inspect.StructType) -> Json:
        properties = {field.encode_name: self._field(info.cls, field) for field in info.fields}
        required = [field.encode_name for field in info.fields if field.required]
        if info.tag_field is not None:
            properties = {info.tag_field: {"const": info.tag}, **properties}
            required.insert(0, info.tag_field)
        schema: Json = {"type": "object", "description": _first_paragraph(info.cls)}
        schema |= {"properties": properties}
        if required:
            schema["required"] = required
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema

    def _field(self, owner: type, field: inspect.Field) -> Json:
        told = (self._instead.get((base, field.name)) for base in owner.__mro__)
        kind = next((kind for kind in told if kind is not None), None)
        if kind is None and isinstance(field.type, inspect.RawType):
            kind = _FREE.get(field.name)
        schema = self._of(field.type) if kind is None else self.of(kind)
        default = field.default
        if default == NULL:
            return _nullable(schema)
        if default is None or default is msgspec.NODEFAULT or "$ref" in schema:
            return schema
        return schema | {"default": _plain(default)}

    def _one_of(self, types: Iterable[inspect.Type]) -> Json:
        kinds = [kind for kind in types if not isinstance(kind, inspect.NoneType)]
        schemas = [self._of(kind) for kind in kinds]
        schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
        return schema if len(kinds) == len(tuple(types)) else _nullable(schema)

    def _tuple(self, items: tuple[inspect.Type, ...]) -> Json:
        size = {"minItems": len(items), "maxItems": len(items)}
        return {"type": "array", "items": [self._of(item) for item in items]} | size


def name_of(cls: type) -> str:
    """What a struct is called in a document: it is all JSON there."""
    return cls.__name__.removesuffix("Json")


def _scalar(info: inspect.Type) -> Json:
    match info:
        case inspect.AnyType() | inspect.RawType():
            return {}
        case inspect.NoneType():
            return {"type": "null"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer"} | _bounds(info)
        case inspect.FloatType():
            return {"type": "number"} | _bounds(info)
        case inspect.StrType():
            return {"type": "string"} | _sizes(info, "Length") | _bounds(info)
        case inspect.LiteralType(values=(value,)):
            return {"const": value}
        case inspect.LiteralType(values=values):
            return {"enum": list(values)}
        case _:
            raise AssertionError(f"no contract has used {info!r} so far; say what its schema is")


def _bounds(info: inspect.Type) -> Json:
    told = ((keyword, getattr(info, name, None)) for name, keyword in _BOUNDS.items())
    return {keyword: value for keyword, value in told if value is not None}


def _sizes(info: inspect.Type, unit: str) -> Json:
    told = ((f"{end}{unit}", getattr(info, f"{end}_length", None)) for end in ("min", "max"))
    return {keyword: value for keyword, value in told if value is not None}


def _narrowed(schema: Json, more: Json) -> Json:
    return {"allOf": [schema, more]} if more and "$ref" in schema else schema | more


def _nullable(schema: Json) -> Json:
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return schema | {"type": [schema["type"], "null"]}
    return {"oneOf": [schema, {"type": "null"}]}


def _plain(default: object) -> Any:
    text = bytes(default) if isinstance(default, Raw) else msgspec.json.encode(default)
    return msgspec.json.decode(text)


def _first_paragraph(cls: type) -> str:
    return " ".join((cls.__doc__ or "").partition("\n\n")[0].split())

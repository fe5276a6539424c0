"""The neutral vocabulary: what a part of a message may be, whoever said it (see docs/parts.md).

Nothing is refused for being of another type; from these, a window can be rendered.
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from formats.problems import NotExpressible, NotReadable
from formats.raws import Fields, fields_of

Whose = Literal["client", "provider"]


class _Part(Struct, tag_field="type", omit_defaults=True, kw_only=True, gc=False):
    """`id`: the provider's own name for it. `provider_metadata`: what else one provider has said of
    it, by the provider's name; nobody else is told."""

    id: str | UnsetType = UNSET
    provider_metadata: dict[str, Raw] | UnsetType = UNSET

    def own(self, provider: str) -> Fields:
        """What this provider has said of it."""
        if self.provider_metadata is UNSET or provider not in self.provider_metadata:
            return {}
        try:
            return fields_of(self.provider_metadata[provider])
        except NotReadable:
            return {}


class Text(_Part, tag="text"):
    """What is said."""

    text: str


class Reasoning(_Part, tag="reasoning"):
    """What a model thought. Only its `provider` gets it back, with what it signed or encrypted."""

    text: str | None = None
    summary: list[str] | UnsetType = UNSET
    signature: str | UnsetType = UNSET
    encrypted: str | UnsetType = UNSET
    redacted: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET


class ToolCall(_Part, tag="tool-call"):
    """`input`: the arguments; `input_raw`: their text, where that is not the same to the letter.

    `kind`: `function`, `custom` (its input is free text), or the provider's own. `by`: who runs it.
    """

    call_id: str
    name: str
    input: Raw | UnsetType = UNSET
    input_raw: str | UnsetType = UNSET
    kind: str = "function"
    by: Whose = "client"
    status: str | UnsetType = UNSET


class Output(Struct, rename={"as_": "as"}):
    """What a tool gave: a text, any JSON, or a list of the parts `text` and `file`."""

    as_: Literal["text", "json", "parts"]
    value: Raw


class ToolResult(_Part, tag="tool-result"):
    """The answer to the call of the same `call_id`."""

    call_id: str
    output: Output
    name: str | UnsetType = UNSET
    is_error: bool = False
    by: Whose = "client"


class File(_Part, tag="file"):
    """An image, a sound, a document: `data` is base64, `file_id` the provider's own name for it."""

    media_type: str
    data: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    file_id: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    title: str | UnsetType = UNSET


class Refusal(_Part, tag="refusal"):
    """A model says that it won't."""

    text: str


class Source(_Part, tag="source"):
    """Where something was found; for people."""

    source_id: str
    url: str | UnsetType = UNSET
    media_type: str | UnsetType = UNSET
    title: str | UnsetType = UNSET


class Data(_Part, tag="data"):
    """Something of the application's own, which no model is shown."""

    name: str
    data: Raw


class Step(_Part, tag="step"):
    """Here a new answer of the model begins."""


class Summary(_Part, tag="summary"):
    """What stands for older messages, for instance in a `replacement`."""

    text: str


class Opaque(_Part, tag="opaque"):
    """What only its provider understands; nobody else is told."""

    provider: str
    kind: str
    value: Raw


Part = (
    Text
    | Reasoning
    | ToolCall
    | ToolResult
    | File
    | Refusal
    | Source
    | Data
    | Step
    | Summary
    | Opaque
)


class _Typed(Struct):
    type: str


_decoder = msgspec.json.Decoder(Part)
_typed = msgspec.json.Decoder(_Typed)
_parts = msgspec.json.Decoder(list[Part])
TYPES: Final = tuple(str(kind.__struct_config__.tag) for kind in Part.__args__)


def type_of(part: Part) -> str:
    """The type that it is written under."""
    return str(part.__struct_config__.tag)


def read_part(raw: Raw) -> Part:
    """A part of the vocabulary. Raises `NotExpressible`, without a seq."""
    try:
        part: Part = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError) as exc:
        kind = _typed.decode(raw).type
        if kind in TYPES:
            problem = f"a part of the type {kind!r} is not what docs/parts.md says of it: {exc}"
        else:
            problem = f"a part of the type {kind!r} is none of those in docs/parts.md"
        raise NotExpressible(problem) from None
    return part


def read_parts(raw: Raw) -> list[Part]:
    """A list of parts, all of the vocabulary. Raises `NotExpressible`, without a seq."""
    try:
        return _parts.decode(raw)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise NotExpressible(f"there are parts that are not in docs/parts.md: {exc}") from None


def parts_of(output: Output) -> list[Part]:
    """The parts of a result that has some. Raises `NotExpressible`, without a seq."""
    return read_parts(output.value)

"""What the formats have in common in saying something: texts of results, names, files."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import UNSET, Raw

from formats.parts import (
    Data,
    File,
    Opaque,
    Output,
    Source,
    Step,
    Text,
    ToolCall,
    parts_of,
    type_of,
)
from formats.problems import NotExpressible, NotReadable
from formats.raws import fields_of, raw_of, text_of
from formats.window import Piece

ERROR: Final = "Error: "
_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,(.*)", re.DOTALL)


def shown_to_models(
    pieces: Iterable[Piece], provider: str, left_out: Counter[str]
) -> Iterator[Piece]:
    """Without what is for people and applications, and what only another provider understands."""
    for piece in pieces:
        match piece.part:
            case Source() | Data() | Step():
                left_out[type_of(piece.part)] += 1
            case Opaque(provider=whose) if whose != provider or not piece.fresh:
                left_out[type_of(piece.part)] += 1
            case _:
                yield piece


def cannot(piece: Piece, seq: int | None, who: str, kind: str) -> NotExpressible:
    """`who` can't say such a part in the format `kind`."""
    said = type_of(piece.part)
    if isinstance(piece.part, File):
        said = f"{said} ({piece.part.media_type})"
    return NotExpressible(f"{kind} has no place for a part of the type {said} of {who}", seq)


def result_text(output: Output) -> tuple[str, list[File]]:
    """A result as text, and the files that text can't hold."""
    match output.as_:
        case "text":
            return text_of(output.value) or "", []
        case "json":
            return bytes(output.value).decode(), []
        case _:
            parts = told_parts(output)
            texts = [part.text for part in parts if isinstance(part, Text)]
            return "\n".join(texts), [part for part in parts if isinstance(part, File)]


def told_parts(output: Output, provider: str | None = None) -> list[Text | File | Opaque]:
    """The parts of a result, without what only another provider than this one understands."""
    told: list[Text | File | Opaque] = []
    for part in parts_of(output):
        match part:
            case Text() | File():
                told.append(part)
            case Opaque(provider=whose):
                if whose == provider:
                    told.append(part)
            case _:
                raise NotExpressible(
                    f"a tool's result has a part of the type {type_of(part)}; it has text and file"
                )
    return told


def arguments_of(call: ToolCall) -> str:
    """The arguments as their text; a function that is given none has an empty object."""
    if call.input_raw is not UNSET:
        return call.input_raw or ("" if call.kind == "custom" else "{}")
    return "{}" if call.input is UNSET else bytes(call.input).decode()


def input_object(call: ToolCall) -> Raw:
    """The arguments as an object; a text that is none is the `input` of one."""
    text = arguments_of(call)
    try:
        fields_of(text.encode())
    except NotReadable:
        return raw_of({"input": text})
    return Raw(text.encode())


def named(text: str, name: str | None) -> str:
    """A text under the name of whoever said it, for formats that have no field for that."""
    return text if name is None else f"{name}: {text}"


def base64_of(file: File) -> tuple[str, str] | None:
    """Media type and data, where the data are at hand."""
    if file.data is not UNSET:
        return file.media_type, file.data
    if file.url is not UNSET and (match := _DATA_URL.fullmatch(file.url)) is not None:
        return match.group(1) or file.media_type, match.group(2)
    return None


def url_of(file: File) -> str | None:
    """A URL, which may hold the data itself."""
    if file.url is not UNSET:
        return file.url
    return None if file.data is UNSET else f"data:{file.media_type};base64,{file.data}"


def file_id_of(file: File, provider: str) -> str | None:
    """The provider's own name of a file, if it is this provider's."""
    theirs = file.provider_metadata is not UNSET and provider in file.provider_metadata
    return file.file_id if theirs and file.file_id is not UNSET else None

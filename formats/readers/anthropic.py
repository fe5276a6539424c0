"""Anthropic's messages: a string, or blocks."""

from typing import Final

from msgspec import UNSET, Raw

from formats.drafts import Draft, Memory, parts_output, text_output
from formats.parts import (
    File,
    Opaque,
    Output,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from formats.problems import NotReadable
from formats.raws import (
    Fields,
    fields_of,
    is_list,
    is_null,
    is_object,
    items_of,
    raw_of,
    string,
    text_of,
)
from formats.readers.openai_chat import own_file

NAME: Final = "anthropic"
PROVIDER: Final = "anthropic"
CACHE_MARK: Final = "cache_control"
PROVIDER_CALLS: Final = ("server_tool_use", "mcp_tool_use")
RESULT: Final = "_tool_result"


def read(raw: Raw, memory: Memory) -> Draft:  # noqa: ARG001
    """One message. Raises `NotReadable`."""
    fields = fields_of(raw, "a message")
    return Draft(string(fields, "role"), content_parts(fields.get("content", Raw(b"null"))))


def read_system(raw: Raw, memory: Memory) -> Draft:  # noqa: ARG001
    """What stands beside the messages as `system`. Raises `NotReadable`."""
    return Draft("system", content_parts(raw))


def content_parts(raw: Raw) -> list[Part]:
    """A string is short for one block of text. Raises `NotReadable`."""
    if (text := text_of(raw)) is not None:
        return [Text(text=text)]
    if not is_list(raw):
        raise NotReadable("`content` has to be a string or a list of blocks")
    return [_block(one) for one in items_of(raw)]


def _block(raw: Raw) -> Part:
    fields = fields_of(raw, "a block")
    kind = string(fields, "type")
    match kind:
        case "text":
            text = string(fields, "text")
            return Text(text=text, provider_metadata=_more(fields, "type", "text"))
        case "thinking":
            thinking, signature = string(fields, "thinking"), text_of(fields.get("signature"))
            return Reasoning(text=thinking, signature=signature or UNSET, provider=PROVIDER)
        case "redacted_thinking":
            return Reasoning(redacted=string(fields, "data"), provider=PROVIDER)
        case "tool_use":
            return _call(fields, "type")
        case "tool_result":
            return _result(fields)
        case "image" | "document" if (file := _file(fields, kind)) is not None:
            return file
        case _ if kind in PROVIDER_CALLS:
            call = _call(fields)
            call.kind, call.by = kind, "provider"
            return call
        case _ if kind.endswith(RESULT) and "tool_use_id" in fields:
            return _provider_result(fields)
        case _:
            return Opaque(provider=PROVIDER, kind=kind, value=raw)


def _call(fields: Fields, *known: str) -> ToolCall:
    return ToolCall(
        call_id=string(fields, "id"),
        name=string(fields, "name"),
        input=fields.get("input", Raw(b"{}")),
        provider_metadata=_more(fields, "id", "name", "input", *known),
    )


def _result(fields: Fields) -> ToolResult:
    failed = bytes(fields.get("is_error", Raw(b"false"))) == b"true"
    return ToolResult(
        call_id=string(fields, "tool_use_id"),
        output=_output(fields.get("content")),
        is_error=failed,
    )


def _provider_result(fields: Fields) -> ToolResult:
    return ToolResult(
        call_id=string(fields, "tool_use_id"),
        output=Output("json", fields.get("content", Raw(b"null"))),
        by="provider",
        provider_metadata=_more(fields, "tool_use_id", "content"),
    )


def _output(content: Raw | None) -> Output:
    if content is None or is_null(content):
        return text_output("")
    match content_parts(content):
        case [Text(text=text, provider_metadata=more)] if more is UNSET:
            return text_output(text)
        case parts:
            return parts_output(parts)


def _file(fields: Fields, kind: str) -> File | None:
    source = fields_of(fields["source"]) if is_object(fields.get("source", Raw())) else {}
    media_type = text_of(source.get("media_type"))
    otherwise = "image/*" if kind == "image" else "application/pdf"
    title = text_of(fields.get("title")) or UNSET
    match text_of(source.get("type")):
        case "base64" if media_type is not None and "data" in source:
            return File(media_type=media_type, data=string(source, "data"), title=title)
        case "url" if "url" in source:
            return File(media_type=otherwise, url=string(source, "url"), title=title)
        case "file" if "file_id" in source:
            return own_file(otherwise, string(source, "file_id"), PROVIDER)
        case _:
            return None


def _more(fields: Fields, *known: str) -> dict[str, Raw]:
    """What else the block says, for this provider alone."""
    more = {name: raw for name, raw in fields.items() if name not in (*known, CACHE_MARK)}
    return {PROVIDER: raw_of(more)} if more else UNSET  # type: ignore[return-value]

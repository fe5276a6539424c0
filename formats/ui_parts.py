"""The parts of the AI SDK's `UIMessage`, as parts of the neutral vocabulary.

They may be appended as they are; a tool's part holds the call and its result in one.
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from formats.parts import (
    Data,
    File,
    Output,
    Part,
    Reasoning,
    Source,
    Step,
    Text,
    ToolCall,
    ToolResult,
)
from formats.problems import NotReadable
from formats.raws import Fields, fields_of, is_text, raw_of, text_of

TOOL: Final = "tool-"
DATA: Final = "data-"
UI_MARKS: Final = (b'"state":', b'"providerMetadata":')
"""Without one of these in it, a part of the AI SDK's that is one of the vocabulary's as well is the
same in both."""

OPEN_STATES: Final = frozenset({"input-available", "approval-requested", "approval-responded"})
"""A call that the application has yet to answer."""

_ONLY_THERE: Final = frozenset({"step-start", "dynamic-tool", "source-url", "source-document"})
_DENIED: Final = "the call was denied"


class UiPart(Struct, rename="camel"):
    """Every field that a part may have; which of them it has depends on its type."""

    type: str
    text: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    provider_metadata: dict[str, Raw] | UnsetType = UNSET
    media_type: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    source_id: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    tool_name: str | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    output: Raw | UnsetType = UNSET
    error_text: str | UnsetType = UNSET
    provider_executed: bool = False


_decoder = msgspec.json.Decoder(UiPart)


def read_ui_part(raw: Raw) -> UiPart | None:
    """The part as the AI SDK writes it; None where it is not one of its own."""
    try:
        part = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return part if _is_own(part) else None


def _is_own(part: UiPart) -> bool:
    match part.type:
        case "text" | "reasoning":
            marked = part.state is not UNSET or part.provider_metadata is not UNSET
            return part.text is not UNSET and marked
        case "file":
            return part.media_type is not UNSET and part.url is not UNSET
        case kind if kind.startswith(TOOL) or kind == "dynamic-tool":
            return part.tool_call_id is not UNSET
        case kind:
            return kind in _ONLY_THERE or kind.startswith(DATA)


def neutral(part: UiPart) -> tuple[Part, ...]:
    """The same, in the neutral vocabulary; of a tool's part the call, and the result if it is
    there."""
    match part.type:
        case "text":
            text = "" if part.text is UNSET else part.text
            return (Text(text=text, id=_item_id(part)),)
        case "reasoning":
            return (_reasoning(part),)
        case "file":
            assert part.media_type is not UNSET
            return (File(media_type=part.media_type, url=part.url, filename=part.filename),)
        case "step-start":
            return (Step(),)
        case "source-url" | "source-document":
            source_id = "" if part.source_id is UNSET else part.source_id
            found = Source(source_id=source_id, url=part.url, title=part.title)
            found.media_type = part.media_type
            return (found,)
        case kind if kind.startswith(DATA):
            data = raw_of(None) if part.data is UNSET else part.data
            return (Data(name=kind.removeprefix(DATA), data=data),)
        case kind:
            return _tool(part, kind)


def _reasoning(part: UiPart) -> Reasoning:
    """Signatures lie in the metadata, each under the name of its provider."""
    text = None if part.text is UNSET else part.text
    anthropic, openai = _own(part, "anthropic"), _own(part, "openai")
    if (signature := text_of(anthropic.get("signature"))) is not None:
        return Reasoning(text=text, signature=signature, provider="anthropic")
    if (redacted := text_of(anthropic.get("redactedData"))) is not None:
        return Reasoning(text=text, redacted=redacted, provider="anthropic")
    if (encrypted := text_of(openai.get("reasoningEncryptedContent"))) is not None:
        summary = [text] if text else []
        return Reasoning(summary=summary, encrypted=encrypted, provider="openai", id=_item_id(part))
    return Reasoning(text=text)


def _tool(part: UiPart, kind: str) -> tuple[Part, ...]:
    assert part.tool_call_id is not UNSET
    name = part.tool_name if part.tool_name is not UNSET else kind.removeprefix(TOOL)
    by: Literal["client", "provider"] = "provider" if part.provider_executed else "client"
    call = ToolCall(call_id=part.tool_call_id, name=name, input=part.input, by=by)
    if part.state == "output-available":
        value = raw_of(None) if part.output is UNSET else part.output
        output, failed = Output("text" if is_text(value) else "json", value), False
    elif part.state in ("output-error", "output-denied"):
        said = _DENIED if part.error_text is UNSET else part.error_text
        output, failed = Output("text", raw_of(said)), True
    else:
        return (call,)
    result = ToolResult(call_id=call.call_id, name=name, output=output, is_error=failed, by=by)
    return call, result


def _item_id(part: UiPart) -> str | UnsetType:
    found = text_of(_own(part, "openai").get("itemId"))
    return UNSET if found is None else found


def _own(part: UiPart, provider: str) -> Fields:
    if part.provider_metadata is UNSET or provider not in part.provider_metadata:
        return {}
    try:
        return fields_of(part.provider_metadata[provider])
    except NotReadable:
        return {}

"""The AI SDK's `UIMessage`: its parts stay as they are."""

from typing import Final

from msgspec import Raw

from formats.drafts import Draft, Memory
from formats.problems import NotReadable
from formats.raws import fields_of, is_object, items_of, string, text_of

NAME: Final = "ai-sdk"
KEPT_BESIDE: Final = "source"
"""Of the metadata, what would stand where the source is kept; the source itself has it too."""


def read(raw: Raw, memory: Memory) -> Draft:  # noqa: ARG001
    """One message. Raises `NotReadable`."""
    fields = fields_of(raw, "a message")
    parts = items_of(fields.get("parts", Raw(b"null")), "`parts`")
    for part in parts:
        if not text_of(fields_of(part, "a part").get("type")):
            raise NotReadable("every part has to have a `type`")
    theirs = fields.get("metadata", Raw(b"null"))
    metadata = dict(fields_of(theirs)) if is_object(theirs) else {}
    metadata.pop(KEPT_BESIDE, None)
    return Draft(string(fields, "role"), parts, metadata, text_of(fields.get("id")))

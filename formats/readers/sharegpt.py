"""ShareGPT: `from` and `value`, with calls and observations where there are tools."""

from typing import Final

from msgspec import Raw

from formats.drafts import Draft, Memory, function_call, known_role, text_output
from formats.parts import Part, Text, ToolResult
from formats.problems import NotReadable
from formats.raws import fields_of, is_list, items_of, string, text_of
from schemas.codec import Unreadable, compact

NAME: Final = "sharegpt"
ROLES: Final = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "system": "system",
    "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool": "tool",
}
_CALLS: Final = ("function_call", "tool_call")


def read(raw: Raw, memory: Memory) -> Draft:
    """One message. Raises `NotReadable`."""
    fields = fields_of(raw, "a message")
    speaker, value = string(fields, "from"), string(fields, "value")
    role = known_role(speaker, ROLES)
    if role == "tool":
        result = ToolResult(call_id=memory.awaited(), output=text_output(value))
        return Draft(role, [result])
    if speaker in _CALLS and (calls := _calls(value, memory)):
        return Draft(role, calls)
    return Draft(role, [Text(text=value)])


def _calls(value: str, memory: Memory) -> list[Part]:
    """The calls that the text is; none where it is something else."""
    try:
        text = Raw(compact(value.encode()))
        written = items_of(text) if is_list(text) else [text]
        fields = [fields_of(one) for one in written]
    except (NotReadable, Unreadable):
        return []
    if not all(text_of(one.get("name")) for one in fields):
        return []
    memory.waiting.clear()
    return [
        function_call(memory.new_call_id(), string(one, "name"), one.get("arguments"))
        for one in fields
    ]

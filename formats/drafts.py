"""A message as it is being made of a source: its role, its parts, and how calls find results."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType, field

from formats.parts import Output, Part, Step, ToolCall
from formats.problems import NotReadable
from formats.raws import raw_of
from schemas.codec import Unreadable, compact


class Draft(Struct):
    """`metadata`: what other than the source is kept in it. `id`: the message's own."""

    role: str
    parts: Sequence[Part | Raw]
    metadata: dict[str, Any] = field(default_factory=dict)
    id: str | None = None

    def parts_json(self) -> Raw:
        """A message of which nothing can be said has a mark that it was there."""
        return raw_of(self.parts or [Step()])


class Memory(Struct):
    """What a reader has to know of the messages before, within one conversation.

    `number`: of the message, from 1. `waiting`: the ids that calls were given which had none.
    """

    number: int = 0
    answers: int = 0
    in_answer: bool = False
    waiting: deque[str] = field(default_factory=deque)
    seen: set[str] = field(default_factory=set)

    def new_call_id(self) -> str:
        """For a call without an id, which the next result without one answers."""
        call_id = f"call-{self.number}-{len(self.waiting) + 1}"
        self.waiting.append(call_id)
        return call_id

    def awaited(self) -> str:
        """The id for a result without one; if no call waits, one that answers nothing."""
        return self.waiting.popleft() if self.waiting else f"result-{self.number}"

    def group(self, *, of_the_model: bool) -> dict[str, str]:
        """The same for all that the model says until somebody else says something."""
        if of_the_model and not self.in_answer:
            self.answers += 1
        self.in_answer = of_the_model
        return {"group": f"answer-{self.answers}"} if of_the_model else {}


def function_call(
    call_id: str, name: str, arguments: Raw | str | None, item_id: str | UnsetType = UNSET
) -> ToolCall:
    """A call whose arguments are JSON in a string, as providers write it, or JSON.

    The string is kept as JSON where it is the same to the letter.
    """
    call = ToolCall(call_id=call_id, name=name, id=item_id)
    if isinstance(arguments, Raw):
        call.input = arguments
    elif arguments is not None:
        try:
            same = compact(arguments.encode()) == arguments.encode()
        except Unreadable:
            same = False
        if same:
            call.input = Raw(arguments.encode())
        else:
            call.input_raw = arguments
    return call


def text_output(text: str) -> Output:
    """A result that is a text."""
    return Output("text", raw_of(text))


def parts_output(parts: Sequence[Part]) -> Output:
    """A result that is texts and files."""
    return Output("parts", raw_of(parts))


def known_role(role: str, names: dict[str, str]) -> str:
    """What a role is called here. Raises `NotReadable`."""
    if role not in names:
        raise NotReadable(f"the role {role!r} is none of {', '.join(names)}")
    return names[role]

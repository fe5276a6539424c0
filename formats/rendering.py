"""A window in the shape that a provider takes."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from formats.renderers import ai_sdk, anthropic, openai_chat, openai_responses
from formats.turns import Turns, turns_of
from formats.window import Said, read_message

Render = Callable[[Turns, list[Said]], dict[str, Any]]

RENDERERS: Final[dict[str, Render]] = {
    openai_chat.NAME: lambda turns, _: openai_chat.render(turns),
    openai_responses.NAME: lambda turns, _: openai_responses.render(turns),
    anthropic.NAME: lambda turns, _: anthropic.render(turns),
    ai_sdk.NAME: ai_sdk.render,
}


class Rendered(Struct):
    """`fields`: what goes into the request, by the provider's names. `left_out`: how many parts of
    the window are not in it, by their types."""

    fields: dict[str, Any]
    left_out: dict[str, int]


def render(kind: str, messages: Sequence[bytes], unchanged_since: int | None) -> Rendered:
    """Render a window. `messages`: the JSON of each, as readers get it, oldest first.

    `unchanged_since`: since which version nothing has been taken out of the window or put in the
    place of something; None where that is not known. What a model thought before that is not sent
    back, as some providers refuse it behind other messages than it was thought behind.

    The same arguments give the same bytes. Raises `NotExpressible`, with the seq of the message.
    """
    said = [read_message(i, body, unchanged_since) for i, body in enumerate(messages)]
    turns = turns_of(said, keep_open=kind == ai_sdk.NAME)
    fields = RENDERERS[kind](turns, said)
    left_out = {name: number for name, number in sorted(turns.left_out.items()) if number}
    return Rendered(fields, left_out)

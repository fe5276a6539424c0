"""Anthropic's Messages: a window as `system` and `messages`."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import UNSET

from formats.ids import CallIds, tool_name
from formats.parts import (
    File,
    Opaque,
    Output,
    Reasoning,
    Refusal,
    Summary,
    Text,
    ToolCall,
    ToolResult,
    type_of,
)
from formats.problems import NotExpressible
from formats.raws import fields_of, is_object
from formats.saying import (
    base64_of,
    cannot,
    file_id_of,
    input_object,
    named,
    result_text,
    shown_to_models,
    told_parts,
)
from formats.turns import Step, Turn, Turns, tell
from formats.window import Piece

Json = dict[str, Any]

NAME: Final = "anthropic"
PROVIDER: Final = "anthropic"
CALL_ID_CHARS_MAX: Final = 64
IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
CACHE_MARK: Final = "cache_control"
OMITTED: Final = "(earlier conversation omitted)"
"""What the user says first where the window begins with the model: the API wants a user there."""


def render(turns: Turns) -> Json:
    """`{"system"?: […], "messages": […]}`. Raises `NotExpressible`."""
    renderer = _Renderer(turns)
    rest = list(turns.turns)
    system: list[Json] = []
    while rest and isinstance(rest[0], Turn) and rest[0].role != "user":
        system += renderer.system(rest.pop(0))
    tell(rest, renderer)
    return ({"system": system} if system else {}) | {"messages": renderer.done()}


class _Renderer:
    def __init__(self, turns: Turns) -> None:
        self._messages: list[Json] = []
        self._left_out = turns.left_out
        self._ids = CallIds(CALL_ID_CHARS_MAX, plain=True, unique=True)

    def system(self, turn: Step | Turn) -> list[Json]:
        """What the system says at the beginning."""
        shown = shown_to_models(turn.pieces, PROVIDER, self._left_out)
        blocks = [_block(piece, turn.seq, "the system") for piece in shown]
        return _told([block for block in blocks if block is not None])

    def turn(self, turn: Turn) -> None:
        """What the user says. What the system says later, the user tells, marked as such: only some
        models take it from the system."""
        if turn.role == "user":
            shown = shown_to_models(turn.pieces, PROVIDER, self._left_out)
            blocks = [_block(piece, turn.seq, "the user") for piece in shown]
            self._say("user", _by(turn.name, _told(blocks)))
        else:
            texts = "\n".join(block["text"] for block in self.system(turn))
            if texts:
                text = f"<system>\n{texts}\n</system>"
                self._say("user", [{"type": "text", "text": text}])

    def step(self, step: Step) -> None:
        """A message of the model, and right behind it one of the user that begins with results."""
        keeps_thinking = step.whole and all(
            piece.fresh for piece in step.pieces if isinstance(piece.part, Reasoning)
        )
        blocks: list[Json | None] = []
        results: list[Json] = []
        for piece in shown_to_models(step.pieces, PROVIDER, self._left_out):
            match piece.part:
                case Reasoning() as reasoning:
                    thinking = _thinking(reasoning) if keeps_thinking else None
                    self._left_out[type_of(reasoning)] += thinking is None
                    blocks.append(thinking)
                case ToolCall(by="client") as call:
                    call_id = self._ids.for_call(piece)
                    blocks.append(_call(call_id, call))
                    results.append(_result(call_id, piece, step.seq))
                case ToolCall() | ToolResult():
                    own = _provider_block(piece.part) if piece.fresh else None
                    self._left_out[type_of(piece.part)] += own is None
                    blocks.append(own)
                case _:
                    blocks.append(_block(piece, step.seq, "the assistant"))
        self._say("assistant", _by(step.name, _told(blocks)))
        self._say("user", results)

    def _say(self, role: str, blocks: Sequence[Json]) -> None:
        """Messages of one role are one message, as the API itself would have it."""
        if not blocks:
            return
        if not self._messages and role == "assistant":
            self._say("user", [{"type": "text", "text": OMITTED}])
        if self._messages and self._messages[-1]["role"] == role:
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": role, "content": list(blocks)})

    def done(self) -> list[Json]:
        """A last word of the model is taken for the beginning of its answer, which must not end in
        white space."""
        last = self._messages[-1]["content"][-1] if self._messages else {}
        if last.get("type") == "text" and self._messages[-1]["role"] == "assistant":
            last["text"] = last["text"].rstrip()
        return self._messages


def _own(part: Text | ToolCall | ToolResult) -> Json:
    """What else this provider has said of it. Marks for its cache belong to a request."""
    return {name: value for name, value in part.own(PROVIDER).items() if name != CACHE_MARK}


def _told(blocks: Iterable[Json | None]) -> list[Json]:
    """Without texts that say nothing, which the API refuses."""
    return [
        block
        for block in blocks
        if block is not None and (block["type"] != "text" or block["text"].strip())
    ]


def _by(name: str | None, blocks: list[Json]) -> list[Json]:
    for block in blocks:
        if block["type"] == "text":
            block["text"] = named(block["text"], name)
            break
    return blocks


def _block(piece: Piece, seq: int | None, who: str) -> Json | None:
    match piece.part:
        case Text(text=text) as part:
            return _own(part) | {"type": "text", "text": text}
        case Summary(text=text) | Refusal(text=text):
            return {"type": "text", "text": text}
        case File() as file if who == "the user":
            return _file(file, seq)
        case Opaque(value=value) if is_object(value):
            return dict(fields_of(value))
        case _:
            raise cannot(piece, seq, who, NAME)


def _thinking(reasoning: Reasoning) -> Json | None:
    """Only what this provider has signed, as it signed it."""
    if reasoning.provider != PROVIDER:
        return None
    if reasoning.redacted is not UNSET:
        return {"type": "redacted_thinking", "data": reasoning.redacted}
    if reasoning.signature is UNSET or not reasoning.signature:
        return None
    text = reasoning.text or ""
    return {"type": "thinking", "thinking": text, "signature": reasoning.signature}


def _call(call_id: str, call: ToolCall) -> Json:
    said = {"name": tool_name(call.name), "input": input_object(call)}
    block = {"type": "tool_use", "id": call_id, **said}
    return _own(call) | block


def _provider_block(part: ToolCall | ToolResult) -> Json | None:
    """What the provider ran itself, in its own form; None where it was another's."""
    own = _own(part)
    if "type" not in own:
        return None
    if isinstance(part, ToolResult):
        return own | {"tool_use_id": part.call_id, "content": part.output.value}
    return own | {"id": part.call_id, "name": part.name, "input": input_object(part)}


def _result(call_id: str, call: Piece, seq: int | None) -> Json:
    assert call.answer is not None
    result = call.answer.part
    assert isinstance(result, ToolResult)
    try:
        content = _result_content(result.output, seq)
    except NotExpressible as exc:
        raise NotExpressible(exc.message, seq) from None
    block: Json = {"type": "tool_result", "tool_use_id": call_id, "content": content}
    return block | ({"is_error": True} if result.is_error else {})


def _result_content(output: Output, seq: int | None) -> str | list[Json]:
    if output.as_ != "parts":
        return result_text(output)[0]
    blocks: list[Json] = []
    for part in told_parts(output, PROVIDER):
        match part:
            case Text(text=text):
                blocks.append({"type": "text", "text": text})
            case File() as file:
                blocks.append(_file(file, seq))
            case Opaque(value=value) if is_object(value):
                blocks.append(dict(fields_of(value)))
    return _told(blocks)


def _file(file: File, seq: int | None) -> Json:
    kind = file.media_type.partition("/")[0]
    source: Json | None = None
    data = base64_of(file)
    if (file_id := file_id_of(file, PROVIDER)) is not None:
        source = {"type": "file", "file_id": file_id}
    elif data is not None and data[0] in (*IMAGES, "application/pdf"):
        source = {"type": "base64", "media_type": data[0], "data": data[1]}
    elif data is None and file.url is not UNSET:
        source = {"type": "url", "url": file.url}
    if source is None or not (kind == "image" or file.media_type == "application/pdf"):
        raise NotExpressible(
            f"{NAME} takes {', '.join(IMAGES)} and application/pdf, but not this file "
            f"({file.media_type})",
            seq,
        )
    if kind == "image":
        return {"type": "image", "source": source}
    title = {} if file.title is UNSET else {"title": file.title}
    return {"type": "document", "source": source, **title}

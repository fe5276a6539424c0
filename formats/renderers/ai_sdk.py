"""The AI SDK's `UIMessage`: a window as messages for `convertToModelMessages` and the UI."""

from typing import Any, Final

from msgspec import UNSET, Raw

from formats.parts import (
    Data,
    File,
    Opaque,
    Reasoning,
    Refusal,
    Source,
    Summary,
    Text,
    ToolCall,
    ToolResult,
    type_of,
)
from formats.parts import Step as StepMark
from formats.problems import NotExpressible
from formats.raws import fields_of
from formats.saying import cannot, input_object, named, result_text, url_of
from formats.sources import given_back, kept_in
from formats.turns import Step, Turn, Turns, tell
from formats.ui_parts import DATA, OPEN_STATES
from formats.window import Piece, Said

Json = dict[str, Any]

NAME: Final = "ai-sdk"
OURS: Final = ("source", "name", "group")
"""What this package keeps in a message's metadata."""


def render(turns: Turns, said: list[Said]) -> Json:
    """`{"messages": [UIMessage…]}`. Raises `NotExpressible`.

    What came as a UIMessage goes as it came. Other steps of the model that follow each other are
    one message of several steps, as the AI SDK itself would have made it.
    """
    renderer = _Renderer(turns, said)
    tell(turns.turns, renderer)
    return {"messages": renderer.messages}


class _Renderer:
    def __init__(self, turns: Turns, said: list[Said]) -> None:
        self.messages: list[Json] = []
        self._left_out = turns.left_out
        self._said = said
        self._last: tuple[int, bool] | None = None

    def turn(self, turn: Turn) -> None:
        """What the system or the user says."""
        role = "user" if turn.role == "user" else "system"
        self._last = None
        parts = [p for piece in turn.pieces if (p := self._part(piece, turn)) is not None]
        if parts:
            self._say(turn.message, role, parts)

    def step(self, step: Step) -> None:
        """It goes on with the message of the step before, where that is of the same kind."""
        ui = any(piece.ui is not None for piece in step.pieces)
        parts = [p for piece in step.pieces if (p := self._step_part(piece, step)) is not None]
        if not parts:
            return
        same = self._last is not None and (
            self._last == (step.message, True) if ui else self._last[1] is False
        )
        if not ui and not isinstance(step.pieces[0].part, StepMark):
            parts.insert(0, {"type": "step-start"})
        if same:
            self.messages[-1]["parts"] += parts
        else:
            self._say(step.message, "assistant", parts)
        self._last = (step.message, ui)

    def _say(self, index: int, role: str, parts: list[Json | Raw]) -> None:
        said = self._said[index]
        name = said.id
        if name is None:
            name = f"replacement-{index}" if said.seq is None else f"message-{said.seq}"
        message: Json = {"id": name, "role": role}
        if (metadata := _theirs(said)) is not None:
            message["metadata"] = metadata
        self.messages.append(message | {"parts": parts})

    def _part(self, piece: Piece, turn: Turn) -> Json | Raw | None:
        match piece.part:
            case _ if piece.ui is not None:
                return piece.raw
            case Text(text=text) | Summary(text=text):
                return {"type": "text", "text": named(text, turn.name)}
            case File() as file if turn.role == "user":
                return _file(file, turn.seq)
            case Data() | Source() | StepMark() | Opaque():
                return self._beside(piece.part)
            case _:
                raise cannot(piece, turn.seq, f"the {turn.role}", NAME)

    def _step_part(self, piece: Piece, step: Step) -> Json | Raw | None:
        match piece.part:
            case Reasoning() as reasoning if not _may_return(reasoning, piece, step):
                self._left_out[type_of(reasoning)] += 1
                return None
            case ToolResult():
                # It stands in the part of its call.
                return None
            case ToolCall() as call:
                return self._call(call, piece, step)
            case _ if piece.ui is not None:
                return piece.raw
            case Text(text=text) | Refusal(text=text):
                return {"type": "text", "text": named(text, step.name)}
            case Reasoning() as reasoning:
                return _reasoning(reasoning)
            case File() as file:
                return _file(file, step.seq)
            case StepMark():
                return {"type": "step-start"}
            case Data() | Source() | Opaque():
                return self._beside(piece.part)
            case _:
                raise cannot(piece, step.seq, "the assistant", NAME)

    def _call(self, call: ToolCall, piece: Piece, step: Step) -> Json | Raw | None:
        """With its result, or waiting for the application to give one."""
        if piece.ui is not None and (piece.answer is None or piece.answer.ui is piece.ui):
            if piece.answer is not None or piece.ui.state in OPEN_STATES:
                return piece.raw
        elif call.by == "client":
            try:
                return _tool(call, piece.answer)
            except NotExpressible as exc:
                raise NotExpressible(exc.message, step.seq) from None
        self._left_out[type_of(call)] += 1
        return None

    def _beside(self, part: Data | Source | StepMark | Opaque) -> Json | None:
        """What is for people, where the AI SDK has a part for it."""
        match part:
            case Data(name=name, data=data):
                return {"type": f"{DATA}{name}", "data": data}
            case Source(source_id=source_id, url=str() as url):
                return {"type": "source-url", "sourceId": source_id, "url": url}
            case _:
                self._left_out[type_of(part)] += 1
                return None


def _may_return(reasoning: Reasoning, piece: Piece, step: Step) -> bool:
    """The AI SDK sends what is signed back to its provider: only behind what it was said behind."""
    if reasoning.provider is UNSET:
        return bool(reasoning.text) or piece.ui is not None
    return piece.fresh and step.whole


def _reasoning(reasoning: Reasoning) -> Json:
    part: Json = {"type": "reasoning", "text": reasoning.text or ""}
    own: Json = {}
    match reasoning:
        case Reasoning(provider="anthropic", redacted=str() as redacted):
            own = {"redactedData": redacted}
        case Reasoning(provider="anthropic", signature=str() as signature):
            own = {"signature": signature}
        case Reasoning(provider="openai", encrypted=str() as encrypted, id=str() as item_id):
            own = {"itemId": item_id, "reasoningEncryptedContent": encrypted}
            texts = [] if reasoning.summary is UNSET else reasoning.summary
            part["text"] = "\n\n".join(texts)
    return part | ({"providerMetadata": {reasoning.provider: own}} if own else {})


def _tool(call: ToolCall, answer: Piece | None) -> Json:
    """As a tool of which the AI SDK knows no type: nobody here knows the application's tools."""
    part: Json = {"type": "dynamic-tool", "toolName": call.name, "toolCallId": call.call_id}
    given = input_object(call)
    if answer is None:
        return part | {"state": "input-available", "input": given}
    result = answer.part
    assert isinstance(result, ToolResult)
    if result.is_error:
        return part | {
            "state": "output-error",
            "input": given,
            "errorText": result_text(result.output)[0],
        }
    return part | {"state": "output-available", "input": given, "output": result.output.value}


def _file(file: File, seq: int | None) -> Json:
    url = url_of(file)
    if url is None:
        raise NotExpressible(
            f"{NAME} takes files by URL or as data, but not by the name that a provider gave "
            f"them ({file.media_type})",
            seq,
        )
    filename = {} if file.filename is UNSET else {"filename": file.filename}
    return {"type": "file", "mediaType": file.media_type, "url": url, **filename}


def _theirs(said: Said) -> Raw | Json | None:
    """The metadata as they were said, without what is kept there beside them."""
    source = kept_in(said.metadata)
    if source is not None and source.format == NAME:
        text = given_back(source, bytes(said.parts))
        return None if text is None else fields_of(text).get("metadata")
    theirs = {k: v for k, v in fields_of(said.metadata).items() if k not in OURS}
    return theirs or None

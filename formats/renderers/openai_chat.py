"""OpenAI's Chat Completions: a window as `messages`."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import UNSET

from formats.ids import CallIds, tool_name
from formats.parts import File, Reasoning, Refusal, Summary, Text, ToolCall, ToolResult, type_of
from formats.problems import NotExpressible
from formats.saying import (
    ERROR,
    arguments_of,
    base64_of,
    cannot,
    file_id_of,
    result_text,
    shown_to_models,
    url_of,
)
from formats.turns import Step, Turn, Turns, tell
from formats.window import Piece

Json = dict[str, Any]

NAME: Final = "openai-chat"
PROVIDER: Final = "openai"
CALL_ID_CHARS_MAX: Final = 40
NAME_CHARS_MAX: Final = 64

_AUDIO: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_NOT_IN_A_NAME = re.compile(r"[\s<|\\/>]")


def render(turns: Turns) -> Json:
    """`{"messages": […]}`. Raises `NotExpressible`."""
    renderer = _Renderer(turns)
    tell(turns.turns, renderer)
    return {"messages": renderer.messages}


class _Renderer:
    def __init__(self, turns: Turns) -> None:
        self.messages: list[Json] = []
        self._left_out = turns.left_out
        self._ids = CallIds(CALL_ID_CHARS_MAX)

    def turn(self, turn: Turn) -> None:
        """What the system or the user says. Only the user has more than texts."""
        says = self._user_part if turn.role == "user" else self._text_part
        shown = shown_to_models(turn.pieces, PROVIDER, self._left_out)
        parts = [says(piece, turn) for piece in shown]
        if parts:
            said = {"role": turn.role, "content": _content(parts)}
            self.messages.append(said | _name(turn.name))

    def step(self, step: Step) -> None:
        """One message of the model, and right behind it a message for each result."""
        calls: list[tuple[str, Piece]] = []
        parts: list[Json] = []
        for piece in shown_to_models(step.pieces, PROVIDER, self._left_out):
            match piece.part:
                case Text(text=text):
                    parts.append({"type": "text", "text": text})
                case Refusal(text=text):
                    parts.append({"type": "refusal", "refusal": text})
                case ToolCall(by="client"):
                    calls.append((self._ids.for_call(piece), piece))
                case Reasoning() | ToolCall() | ToolResult():
                    self._left_out[type_of(piece.part)] += 1
                case _:
                    raise cannot(piece, step.seq, "the assistant", NAME)
        if not parts and not calls:
            return
        said: Json = {"role": "assistant", **_answer(parts), **_name(step.name)}
        if calls:
            said["tool_calls"] = [_call(call_id, call) for call_id, call in calls]
        self.messages.append(said)
        self._results(calls, step)

    def _results(self, calls: Iterable[tuple[str, Piece]], step: Step) -> None:
        """The files among them are shown by the user: a tool has only text."""
        files: list[Json] = []
        for call_id, call in calls:
            assert call.answer is not None
            result = call.answer.part
            assert isinstance(result, ToolResult)
            try:
                text, found = result_text(result.output)
            except NotExpressible as exc:
                raise NotExpressible(exc.message, step.seq) from None
            files += [_file(file, step.seq) for file in found]
            content = f"{ERROR}{text}" if result.is_error else text
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        if files:
            self.messages.append({"role": "user", "content": files})

    def _user_part(self, piece: Piece, turn: Turn) -> Json:
        if isinstance(piece.part, File):
            return _file(piece.part, turn.seq)
        return self._text_part(piece, turn)

    def _text_part(self, piece: Piece, turn: Turn) -> Json:
        if isinstance(piece.part, Text | Summary):
            return {"type": "text", "text": piece.part.text}
        raise cannot(piece, turn.seq, f"the {turn.role}", NAME)


def _answer(parts: Sequence[Json]) -> Json:
    """A refusal alone has a field of its own."""
    match parts:
        case []:
            return {"content": None}
        case [{"type": "refusal", "refusal": text}]:
            return {"content": None, "refusal": text}
        case _:
            return {"content": _content(parts)}


def _content(parts: Sequence[Json]) -> str | Sequence[Json]:
    match parts:
        case [{"type": "text", "text": str() as text}]:
            return text
        case _:
            return parts


def _name(name: str | None) -> Json:
    """As the API takes it."""
    return {"name": _NOT_IN_A_NAME.sub("_", name)[:NAME_CHARS_MAX]} if name else {}


def _call(call_id: str, piece: Piece) -> Json:
    call = piece.part
    assert isinstance(call, ToolCall)
    if call.kind == "custom":
        custom = {"name": tool_name(call.name), "input": arguments_of(call)}
        return {"id": call_id, "type": "custom", "custom": custom}
    function = {"name": tool_name(call.name), "arguments": arguments_of(call)}
    return {"id": call_id, "type": "function", "function": function}


def _file(file: File, seq: int | None) -> Json:
    kind = file.media_type.partition("/")[0]
    url, data = url_of(file), base64_of(file)
    if kind == "image" and url is not None:
        detail = {} if file.detail is UNSET else {"detail": file.detail}
        return {"type": "image_url", "image_url": {"url": url, **detail}}
    if file.media_type in _AUDIO and data is not None:
        audio = {"data": data[1], "format": _AUDIO[file.media_type]}
        return {"type": "input_audio", "input_audio": audio}
    filename = {} if file.filename is UNSET else {"filename": file.filename}
    if (file_id := file_id_of(file, PROVIDER)) is not None:
        return {"type": "file", "file": {"file_id": file_id}}
    if kind not in ("image", "audio", "video") and data is not None:
        as_url = f"data:{data[0]};base64,{data[1]}"
        return {"type": "file", "file": {"file_data": as_url, **filename}}
    raise NotExpressible(
        f"{NAME} takes images by URL or as data, wav and mp3 as data, and documents as data, but "
        f"not this file ({file.media_type})",
        seq,
    )

"""OpenAI's Responses: a window as the items of `input`."""

from collections.abc import Sequence
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
from formats.raws import Fields
from formats.saying import (
    ERROR,
    arguments_of,
    cannot,
    file_id_of,
    named,
    result_text,
    shown_to_models,
    told_parts,
    url_of,
)
from formats.turns import Step, Turn, Turns, tell
from formats.window import Piece

Json = dict[str, Any]

NAME: Final = "openai-responses"
PROVIDER: Final = "openai"
CALL_ID_CHARS_MAX: Final = 64

_ID_PREFIX: Final = {Text: "msg", Refusal: "msg", Reasoning: "rs"}


def render(turns: Turns) -> Json:
    """`{"input": […]}`. Raises `NotExpressible`."""
    renderer = _Renderer(turns)
    tell(turns.turns, renderer)
    return {"input": renderer.items}


class _Renderer:
    def __init__(self, turns: Turns) -> None:
        self.items: list[Json] = []
        self._left_out = turns.left_out
        self._ids = CallIds(CALL_ID_CHARS_MAX, unique=True)
        self._item_ids: set[str] = set()

    def turn(self, turn: Turn) -> None:
        """What the system or the user says."""
        shown = list(shown_to_models(turn.pieces, PROVIDER, self._left_out))
        match shown:
            case []:
                return
            case [Piece(part=Text(text=text) | Summary(text=text))]:
                content: Any = named(text, turn.name)
            case _:
                content = [_input(piece, turn) for piece in shown]
                _sign(content, turn.name)
        self.items.append({"role": turn.role, "content": content})

    def step(self, step: Step) -> None:
        """What the model said, item by item, and then what its calls were answered.

        The items of an answer hang together by their ids. They keep them where all of them are
        there; else none has one, and what the model thought is gone.
        """
        shown = list(shown_to_models(step.pieces, PROVIDER, self._left_out))
        native = self._is_native(step, shown)
        results: list[Json] = []
        before = len(self.items)
        for piece in shown:
            match piece.part:
                case Text() | Refusal() as part:
                    self._say(part, step, before, native=native)
                case ToolCall(by="client") as call:
                    call_id = self._ids.for_call(piece)
                    self.items.append(_call(call_id, call, native=native))
                    results.append(_result(call_id, piece, step.seq))
                case Reasoning() as reasoning if native:
                    self.items.append(_reasoning(reasoning))
                case Opaque(value=value) if native:
                    self.items.append(value)  # type: ignore[arg-type]
                case Reasoning() | Opaque() | ToolCall() | ToolResult():
                    self._left_out[type_of(piece.part)] += 1
                case _:
                    raise cannot(piece, step.seq, "the assistant", NAME)
        self.items += results

    def _is_native(self, step: Step, shown: Sequence[Piece]) -> bool:
        """Whether the step came whole from this provider, and all that stood before it is there."""
        if not step.whole or not shown or isinstance(shown[-1].part, Reasoning):
            return False
        ids: dict[str, None] = {}
        saying: str | None = None
        for piece in shown:
            match piece.part:
                case Text(id=str() as item_id) | Refusal(id=str() as item_id) if (
                    item_id == saying or item_id not in ids
                ):
                    saying = item_id
                case Reasoning(provider="openai", encrypted=str(), id=str() as item_id) if (
                    item_id not in ids
                ):
                    saying = None
                case ToolCall(by="client", id=str() as item_id) if item_id not in ids:
                    saying = None
                case Opaque():
                    saying = None
                    continue
                case _:
                    return False
            if not piece.fresh or not item_id.startswith(_id_prefix(piece)):
                return False
            ids[item_id] = None
        if not self._item_ids.isdisjoint(ids):
            return False
        self._item_ids.update(ids)
        return True

    def _say(self, part: Text | Refusal, step: Step, before: int, *, native: bool) -> None:
        if not native:
            self.items.append({"role": "assistant", "content": named(part.text, step.name)})
            return
        if isinstance(part, Text):
            content: Json = {"type": "output_text", "text": part.text, "annotations": []}
        else:
            content = {"type": "refusal", "refusal": part.text}
        last = self.items[-1] if len(self.items) > before else None
        if isinstance(last, dict) and last.get("type") == "message" and last["id"] == part.id:
            last["content"].append(content)
            return
        own = part.own(PROVIDER)
        phase = {"phase": own["phase"]} if "phase" in own else {}
        message = {"type": "message", "id": part.id, "status": "completed", "role": "assistant"}
        self.items.append({**message, **phase, "content": [content]})


def _id_prefix(piece: Piece) -> str:
    if isinstance(piece.part, ToolCall):
        return "ctc" if piece.part.kind == "custom" else "fc"
    return _ID_PREFIX[type(piece.part)]


def _reasoning(part: Reasoning) -> Json:
    texts = [] if part.summary is UNSET else part.summary
    summary = [{"type": "summary_text", "text": text} for text in texts]
    item = {"type": "reasoning", "id": part.id, "summary": summary}
    return item | {"encrypted_content": part.encrypted}


def _call(call_id: str, call: ToolCall, *, native: bool) -> Json:
    item_id = {"id": call.id} if native else {}
    own: Fields = call.own(PROVIDER) if native else {}
    if call.kind == "custom":
        said = {"name": tool_name(call.name), "input": arguments_of(call)}
        return {**own, "type": "custom_tool_call", **item_id, "call_id": call_id, **said}
    said = {"name": tool_name(call.name), "arguments": arguments_of(call)}
    return {**own, "type": "function_call", **item_id, "call_id": call_id, **said}


def _result(call_id: str, call: Piece, seq: int | None) -> Json:
    assert isinstance(call.part, ToolCall)
    assert call.answer is not None
    result = call.answer.part
    assert isinstance(result, ToolResult)
    kind = "custom_tool_call_output" if call.part.kind == "custom" else "function_call_output"
    try:
        output = _output(result.output, seq)
    except NotExpressible as exc:
        raise NotExpressible(exc.message, seq) from None
    if result.is_error and isinstance(output, str):
        output = f"{ERROR}{output}"
    return {"type": kind, "call_id": call_id, "output": output}


def _output(output: Output, seq: int | None) -> str | list[Json]:
    if output.as_ != "parts":
        return result_text(output)[0]
    return [
        {"type": "input_text", "text": part.text} if isinstance(part, Text) else _file(part, seq)
        for part in told_parts(output)
        if not isinstance(part, Opaque)
    ]


def _input(piece: Piece, turn: Turn) -> Json:
    match piece.part:
        case Text(text=text) | Summary(text=text):
            return {"type": "input_text", "text": text}
        case File() as file if turn.role == "user":
            return _file(file, turn.seq)
        case _:
            raise cannot(piece, turn.seq, f"the {turn.role}", NAME)


def _sign(content: Sequence[Json], name: str | None) -> None:
    for item in content:
        if item["type"] == "input_text":
            item["text"] = named(item["text"], name)
            return


def _file(file: File, seq: int | None) -> Json:
    kind = file.media_type.partition("/")[0]
    url, file_id = url_of(file), file_id_of(file, PROVIDER)
    if kind in ("audio", "video") or (url is None and file_id is None):
        raise NotExpressible(
            f"{NAME} takes images and documents, as data or by URL, but not this file "
            f"({file.media_type})",
            seq,
        )
    if kind == "image":
        where = {"image_url": url} if file_id is None else {"file_id": file_id}
        detail = "auto" if file.detail is UNSET else file.detail
        return {"type": "input_image", "detail": detail, **where}
    filename = {} if file.filename is UNSET else {"filename": file.filename}
    if file_id is not None:
        return {"type": "input_file", "file_id": file_id}
    if url is not None and url.startswith("data:"):
        return {"type": "input_file", "file_data": url, **filename}
    return {"type": "input_file", "file_url": url}

"""Histories as they go wrong in the wild, as the messages of a window: results that come late,
twice or never, calls with broken arguments and ids of every kind, models that change half way."""

import json
from typing import Any, Final

import msgspec
from hypothesis import strategies as st
from msgspec import Raw

Json = dict[str, Any]

IMAGE: Final = {"type": "file", "media_type": "image/png", "data": "aGVsbG8="}
CALL_IDS: Final = ("call_0", "call_0", "call_1", "a:b", "a.b", "x|y", "", "é", "c" * 41, "d" * 65)
CALL_IDS_LONG: Final = (*CALL_IDS, "e" * 116)
ARGUMENTS: Final = ('{"city":"Oslo"}', "{}", "", '{"n": 1.0}', '{"cut', "[1]", '{"a":1e999}')
TOOLS: Final = ("look_up", "metrics.minutes", "ü" * 65, "")
TEXTS: Final = ("hello", "what now?", "", "  \n", "trailing  ", '{"$":1}', "ü🙂")
SIGNED: Final = ({"signature": "sig-1"}, {"signature": "sig-2"}, {"redacted": "sealed"})
SECRET: Final = "not-for-the-wire"
"""In everything that no model may see."""

texts = st.sampled_from(TEXTS)
HIDDEN: Final = (
    {"type": "data", "name": "ui", "data": {"x": SECRET}},
    {"type": "source", "source_id": SECRET, "url": "https://example.com"},
    {"type": "step"},
    {"type": "opaque", "provider": "google", "kind": "x", "value": {"x": SECRET}},
)


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def stored(messages: list[Json], *, first_seq: int | None = 1) -> list[bytes]:
    """As readers get them. `first_seq`: None for the messages of a replacement."""
    bodies = []
    for n, message in enumerate(messages):
        around: Json = {"version": n + 1, "token_count": 5, "inserted_at": "2026-01-01T00:00:00Z"}
        said = {name: value for name, value in message.items() if name != "metadata"}
        around |= said | {"metadata": message.get("metadata", {})}
        if first_seq is not None:
            around["seq"] = first_seq + n
        bodies.append(msgspec.json.encode(around))
    return bodies


def call(call_id: str, arguments: str = "{}", **more: Any) -> Json:
    """With its arguments as the reader of a file would keep them."""
    part: Json = {"type": "tool-call", "call_id": call_id, "name": "look_up"}
    try:
        same = json.dumps(json.loads(arguments), separators=(",", ":")) == arguments
    except ValueError:
        same = False
    given = {"input": Raw(arguments.encode())} if same else {"input_raw": arguments}
    return part | given | more


def result(call_id: str, value: Any = "found", kind: str = "text", **more: Any) -> Json:
    output = {"as": kind, "value": value}
    return {"type": "tool-result", "call_id": call_id, "output": output} | more


@st.composite
def _results(draw: st.DrawFn, ids: list[str]) -> list[Json]:
    """Of most calls one, in any order; of some none, or two; now and then of a call that nobody
    made."""
    found: list[Json] = []
    for call_id in ids:
        for _ in range(draw(st.sampled_from((1, 1, 1, 1, 0, 2)))):
            found.append(draw(_result(call_id)))
    if draw(st.integers(0, 7)) == 0:
        found.append(result("nobody-called"))
    return draw(st.permutations(found))


def _result(call_id: str) -> st.SearchStrategy[Json]:
    return st.sampled_from(
        (
            result(call_id),
            result(call_id, "", is_error=True),
            result(call_id, {"n": 1}, "json"),
            result(call_id, [text("seen"), IMAGE], "parts"),
        )
    )


@st.composite
def reasoning(draw: st.DrawFn) -> Json:
    """Signed by one provider, or by none."""
    kind = draw(st.sampled_from(("anthropic", "openai", "none")))
    if kind == "anthropic":
        signed = draw(st.sampled_from(SIGNED))
        return {"type": "reasoning", "text": "hm", "provider": "anthropic", **signed}
    if kind == "openai":
        item = f"rs_{draw(st.integers(0, 9))}"
        return {"type": "reasoning", "encrypted": "sealed", "provider": "openai", "id": item}
    return {"type": "reasoning", "text": f"{SECRET} thought"}


@st.composite
def answers(draw: st.DrawFn) -> list[Json]:
    """One answer of a model, and what its calls were answered."""
    parts: list[Json] = draw(st.lists(reasoning(), max_size=2))
    parts += [text(said) for said in draw(st.lists(texts, max_size=2))]
    ids = draw(st.lists(st.sampled_from(CALL_IDS_LONG), max_size=3))
    kinds = st.sampled_from(({}, {}, {"kind": "custom"}, {"kind": "computer_call"}))
    tools = st.sampled_from(TOOLS)
    parts += [
        call(one, draw(st.sampled_from(ARGUMENTS)), name=draw(tools), **draw(kinds)) for one in ids
    ]
    if draw(st.integers(0, 3)) == 0:
        parts.append(draw(st.sampled_from(HIDDEN)))
    if draw(st.integers(0, 5)) == 0:
        parts.append(text("after the calls"))
    if draw(st.integers(0, 7)) == 0:
        parts.append({"type": "refusal", "text": "I won't"})
    results = draw(_results(ids))
    said: Json = {"role": "assistant", "parts": parts or [{"type": "step"}]}
    match draw(st.sampled_from(("tool messages", "tool messages", "one user message", "inside"))):
        case "tool messages":
            return [said, *({"role": "tool", "parts": [one]} for one in results)]
        case "one user message":
            return [said, {"role": "user", "parts": [*results, text("and then?")]}]
        case _:
            return [said | {"parts": said["parts"] + results}]


@st.composite
def items(draw: st.DrawFn) -> list[Json]:
    """One answer as OpenAI's Responses write it, an item each, whose ids hang together."""
    number = draw(st.integers(0, 99))
    group = {"metadata": {"group": f"answer-{number}"}}
    thought = {"type": "reasoning", "encrypted": "sealed", "provider": "openai"}
    kept: list[Json] = [
        thought | {"id": f"rs_{number}"},
        text("native") | {"id": f"msg_{number}"},
        call(f"native_{number}", id=f"fc_{number}"),
    ]
    chosen = draw(st.sets(st.sampled_from((0, 1, 2)), min_size=1))
    said = [{"role": "assistant", "parts": [kept[n]], **group} for n in sorted(chosen)]
    answered = 2 in chosen and draw(st.integers(0, 4)) > 0
    return said + ([{"role": "tool", "parts": [result(f"native_{number}")]}] if answered else [])


@st.composite
def ui_answers(draw: st.DrawFn) -> list[Json]:
    """One answer as the AI SDK writes it, calls and results in one."""
    states = st.sampled_from(("output-available", "output-error", "input-available"))
    parts: list[Json] = [{"type": "step-start"}, text("I look") | {"state": "done"}]
    for n in range(draw(st.integers(0, 2))):
        state = draw(states)
        tool = {"type": "tool-look_up", "toolCallId": f"ui_{n}", "state": state, "input": {}}
        more = {"output-available": {"output": {"n": 1}}, "output-error": {"errorText": "no"}}
        parts.append(tool | more.get(state, {}))
    parts += draw(st.sampled_from(([], [{"type": "step-start"}, text("so") | {"state": "done"}])))
    return [{"role": "assistant", "id": f"ui-{draw(st.integers(0, 99))}", "parts": parts}]


@st.composite
def _told(draw: st.DrawFn) -> list[Json]:
    parts = [text(said) for said in draw(st.lists(texts, min_size=1, max_size=2))]
    if draw(st.integers(0, 5)) == 0:
        parts.append(IMAGE)
    if draw(st.integers(0, 5)) == 0:
        parts.append(draw(st.sampled_from(HIDDEN)))
    name = draw(st.sampled_from(({}, {}, {"metadata": {"name": "Ann Lee"}})))
    return [{"role": "user", "parts": parts, **name}]


_summaries = st.sampled_from(("user", "system", "assistant")).map(
    lambda role: [{"role": role, "parts": [{"type": "summary", "text": "what was before"}]}]
)
_systems = texts.map(lambda said: [{"role": "system", "parts": [text(said)]}])


@st.composite
def histories(draw: st.DrawFn) -> list[Json]:
    """Messages, cut at any index; some results wander to where they came too late."""
    pieces = st.one_of(_told(), _told(), answers(), answers(), items(), ui_answers(), _systems)
    said = [m for piece in draw(st.lists(pieces | _summaries, max_size=8)) for m in piece]
    for n, message in enumerate(list(said)):
        if message["role"] == "tool" and draw(st.integers(0, 9)) == 0:
            said.remove(message)
            said.insert(draw(st.integers(min(n, len(said)), len(said))), message)
    return said[draw(st.integers(0, min(3, len(said)))) :]

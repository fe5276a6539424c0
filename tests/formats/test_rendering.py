"""What each format makes of what a conversation may hold, one thing at a time."""

from typing import Any

import msgspec
import pytest

from formats.problems import NotExpressible
from formats.rendering import RENDERERS, Rendered, render
from tests.support.histories import IMAGE, call, result, stored, text

Json = dict[str, Any]


def said(role: str, *parts: Json, **metadata: Any) -> Json:
    return {"role": role, "parts": list(parts), "metadata": metadata}


def rendering(kind: str, *messages: Json, since: int | None = 0) -> Rendered:
    return render(kind, stored(list(messages)), since)


def rendered(kind: str, *messages: Json, since: int | None = 0) -> Json:
    """The fields as they go over the wire."""
    fields = rendering(kind, *messages, since=since).fields
    return dict(msgspec.json.decode(msgspec.json.encode(fields)))


ASKED = said("user", text("Oslo?"))
CALLED = said("assistant", call("c1", '{"city":"Oslo"}'))
ANSWERED = said("tool", result("c1"))

# -- calls and results -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RENDERERS)
def test_a_call_without_its_result_is_left_out_and_counted(kind: str) -> None:
    found = rendering(kind, ASKED, CALLED, said("user", text("well?")))
    assert found.left_out == {"tool-call": 1}
    assert b"c1" not in msgspec.json.encode(found.fields)


@pytest.mark.parametrize("kind", RENDERERS)
def test_a_result_without_its_call_is_left_out_and_counted(kind: str) -> None:
    found = rendering(kind, ANSWERED, ASKED)
    assert found.left_out == {"tool-result": 1}
    assert b"c1" not in msgspec.json.encode(found.fields)


@pytest.mark.parametrize("kind", RENDERERS)
def test_the_first_of_two_results_counts(kind: str) -> None:
    found = rendering(kind, ASKED, CALLED, ANSWERED, said("tool", result("c1", "again")))
    assert found.left_out == {"tool-result": 1}
    assert b"again" not in msgspec.json.encode(found.fields)


def test_an_id_that_comes_again_is_another_call() -> None:
    messages = rendered("anthropic", ASKED, CALLED, ANSWERED, CALLED, ANSWERED)["messages"]
    calls = [b["id"] for m in messages for b in m["content"] if b["type"] == "tool_use"]
    results = [b["tool_use_id"] for m in messages for b in m["content"] if "tool_use_id" in b]
    assert calls == results
    assert len(set(calls)) == 2
    chat = rendered("openai-chat", ASKED, CALLED, ANSWERED, CALLED, ANSWERED)["messages"]
    assert [m["tool_call_id"] for m in chat if m["role"] == "tool"] == ["c1", "c1"]


def test_calls_of_one_id_beside_each_other_are_answered_in_order() -> None:
    twice = said("assistant", call("c1", '{"n":1}'), call("c1", '{"n":2}'))
    results = (said("tool", result("c1", "first")), said("tool", result("c1", "second")))
    items = rendered("openai-responses", ASKED, twice, *results)["input"]
    outputs = {item["call_id"]: item["output"] for item in items if "output" in item}
    first, second = (item["call_id"] for item in items if "arguments" in item)
    assert (outputs[first], outputs[second]) == ("first", "second")


@pytest.mark.parametrize("before", [(), ({"type": "step"},)])
def test_what_is_said_after_a_result_stands_behind_it(before: tuple[Json, ...]) -> None:
    whole = said(
        "assistant", call("c1"), call("c2"), result("c1"), result("c2"), *before, text("So.")
    )
    messages = rendered("openai-chat", ASKED, whole)["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert messages[-1]["content"] == "So."


def test_calls_with_their_results_between_them_were_made_at_once() -> None:
    whole = said("assistant", call("c1"), result("c1"), call("c2"), result("c2"))
    messages = rendered("openai-chat", ASKED, whole)["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool"]


def test_calls_in_messages_of_their_own_are_one_message_for_chat() -> None:
    other = said("assistant", call("c2"))
    results = (said("tool", result("c2")), ANSWERED)
    messages = rendered("openai-chat", ASKED, CALLED, other, *results)["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool"]
    assert [c["id"] for c in messages[1]["tool_calls"]] == ["c1", "c2"]
    assert [m["tool_call_id"] for m in messages[2:]] == ["c1", "c2"]


def test_what_was_thought_before_a_late_result_came_is_not_sent_behind_it() -> None:
    thought = {"type": "reasoning", "text": "hm", "signature": "s", "provider": "anthropic"}
    between = said("assistant", thought, text("I wait."))
    history = (ASKED, CALLED, said("user", text("and?")), between, ANSWERED)
    assert rendering("anthropic", *history).left_out == {"reasoning": 1}
    after = said("assistant", thought, text("Cold."))
    sent = rendered("anthropic", *history, said("user", text("so?")), after)["messages"]
    assert sent[-1]["content"][0]["type"] == "thinking"


def test_an_answer_that_lost_a_call_lost_what_was_thought_too() -> None:
    thought = {"type": "reasoning", "text": "hm", "signature": "s", "provider": "anthropic"}
    lost = said("assistant", thought, text("I look."), call("c1"))
    found = rendering("anthropic", ASKED, lost, said("user", text("well?")))
    assert found.left_out == {"reasoning": 1, "tool-call": 1}


def test_an_open_call_of_the_last_ui_message_waits_for_the_application() -> None:
    tool = {"type": "tool-ask", "toolCallId": "u", "state": "input-available", "input": {}}
    asks = said("assistant", {"type": "step-start"}, tool)
    assert rendered("ai-sdk", ASKED, asks)["messages"][-1]["parts"][-1] == tool
    assert rendering("openai-chat", ASKED, asks).left_out["tool-call"] == 1
    streaming = said("assistant", {"type": "step-start"}, tool | {"state": "input-streaming"})
    assert rendering("ai-sdk", ASKED, streaming).left_out == {"tool-call": 1}


def test_a_ui_call_may_be_answered_by_another_message() -> None:
    tool = {"type": "tool-ask", "toolCallId": "u", "state": "input-available", "input": {}}
    answered = (said("assistant", tool), said("tool", result("u", "yes")))
    part = rendered("ai-sdk", ASKED, *answered)["messages"][-1]["parts"][-1]
    assert (part["state"], part["output"]) == ("output-available", "yes")


# -- arguments and outputs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "arguments", "given"),
    [
        (call("c", '{"n":1.0}'), '{"n":1.0}', {"n": 1.0}),
        (call("c", '{ "n": 1 }'), '{ "n": 1 }', {"n": 1}),
        (call("c", '{"cut'), '{"cut', {"input": '{"cut'}),
        (call("c", "[1]"), "[1]", {"input": "[1]"}),
        (call("c", ""), "{}", {}),
    ],
)
def test_arguments_are_a_text_or_an_object(part: Json, arguments: str, given: Json) -> None:
    history = (ASKED, said("assistant", part), said("tool", result("c")))
    chat = rendered("openai-chat", *history)["messages"][1]["tool_calls"][0]
    assert chat["function"]["arguments"] == arguments
    block = rendered("anthropic", *history)["messages"][1]["content"][0]
    assert block["input"] == given


def test_numbers_go_through_to_the_letter() -> None:
    history = (ASKED, said("assistant", call("c", '{"n":1e999}')), said("tool", result("c")))
    assert b'{"n":1e999}' in msgspec.json.encode(rendering("anthropic", *history).fields)


def test_a_tool_has_no_images_in_chat_so_the_user_shows_them() -> None:
    seen = said("tool", result("c1", [text("seen"), IMAGE], "parts"))
    messages = rendered("openai-chat", ASKED, CALLED, seen)["messages"]
    assert messages[-2]["content"] == "seen"
    assert messages[-1]["role"] == "user"
    assert messages[-1]["content"][0]["image_url"]["url"] == "data:image/png;base64,aGVsbG8="


# -- the system, names, refusals -------------------------------------------------------------------


def test_names_are_what_chat_allows_and_stand_before_the_text_elsewhere() -> None:
    message = said("user", text("Hello."), name="Ann Lee")
    (chat,) = rendered("openai-chat", message)["messages"]
    assert (chat["name"], chat["content"]) == ("Ann_Lee", "Hello.")
    assert rendered("openai-responses", message)["input"][0]["content"] == "Ann Lee: Hello."
    (block,) = rendered("anthropic", message)["messages"][0]["content"]
    assert block["text"] == "Ann Lee: Hello."


def test_a_refusal_has_a_field_of_its_own_where_there_is_one() -> None:
    refused = said("assistant", {"type": "refusal", "text": "I won't."})
    assert rendered("openai-chat", ASKED, refused)["messages"][1]["refusal"] == "I won't."
    assert rendered("openai-responses", ASKED, refused)["input"][1]["content"] == "I won't."
    assert rendered("anthropic", ASKED, refused)["messages"][1]["content"][0]["text"] == "I won't."


@pytest.mark.parametrize("kind", RENDERERS)
def test_a_summary_is_told(kind: str) -> None:
    summary = said("user", {"type": "summary", "text": "They spoke of Oslo."})
    fields = rendering(kind, summary, ASKED).fields
    assert b"They spoke of Oslo." in msgspec.json.encode(fields)


def test_a_last_word_of_the_model_ends_without_white_space_for_anthropic() -> None:
    messages = rendered("anthropic", ASKED, said("assistant", text("It is \n")))["messages"]
    assert messages[-1]["content"][0]["text"] == "It is"


@pytest.mark.parametrize("kind", RENDERERS)
def test_an_empty_window_is_empty(kind: str) -> None:
    assert list(rendered(kind).values()) == [[]]


@pytest.mark.parametrize("provider", ["google", None])
def test_what_another_provider_signed_is_not_sent(provider: str | None) -> None:
    thought = {"type": "reasoning", "text": "hm", "signature": "s"}
    signed = thought if provider is None else thought | {"provider": provider}
    found = rendering("anthropic", ASKED, said("assistant", signed, text("So.")))
    assert found.left_out == {"reasoning": 1}


@pytest.mark.parametrize(
    ("kind", "since", "kept"),
    [
        ("anthropic", 0, True),
        ("anthropic", None, False),
        ("openai-responses", 0, False),
    ],
)
def test_what_is_opaque_goes_to_its_provider_behind_what_it_stood_behind(
    kind: str, since: int | None, kept: bool
) -> None:
    block = {"type": "compaction", "content": "sealed"}
    opaque = {"type": "opaque", "provider": "anthropic", "kind": "compaction", "value": block}
    found = rendering(kind, ASKED, said("assistant", opaque, text("So.")), since=since)
    assert (b"sealed" in msgspec.json.encode(found.fields)) is kept
    assert found.left_out == ({} if kept else {"opaque": 1})


def test_no_mark_for_a_cache_is_sent_again() -> None:
    marked = text("Hello.") | {"provider_metadata": {"anthropic": {"cache_control": {"x": 1}}}}
    assert b"cache_control" not in msgspec.json.encode(
        rendering("anthropic", said("user", marked)).fields
    )


def test_what_the_provider_said_beside_it_goes_back_to_it_alone() -> None:
    cited = text("So.") | {"provider_metadata": {"anthropic": {"citations": [1]}}}
    history = (ASKED, said("assistant", cited))
    assert rendered("anthropic", *history)["messages"][1]["content"][0]["citations"] == [1]
    assert b"citations" not in msgspec.json.encode(rendering("openai-chat", *history).fields)


# -- items of OpenAI's -----------------------------------------------------------------------------

THOUGHT = {"type": "reasoning", "id": "rs_1", "encrypted": "e", "provider": "openai"}
ITEMS = (
    said("assistant", THOUGHT, group="a"),
    said("assistant", text("I look.") | {"id": "msg_1"}, group="a"),
    said("assistant", call("c1", id="fc_1"), group="a"),
    ANSWERED,
)


def test_items_that_are_all_there_go_back_as_they_came() -> None:
    items = rendered("openai-responses", ASKED, *ITEMS)["input"]
    assert [item.get("id") for item in items] == [None, "rs_1", "msg_1", "fc_1", None]
    assert items[1]["encrypted_content"] == "e"
    assert items[2]["content"] == [{"type": "output_text", "text": "I look.", "annotations": []}]


@pytest.mark.parametrize("history", [ITEMS[:-1], ITEMS[:1]])
def test_items_of_an_answer_that_is_not_whole_have_no_ids(history: tuple[Json, ...]) -> None:
    items = rendered("openai-responses", ASKED, *history)["input"]
    assert not any("id" in item or item.get("type") == "reasoning" for item in items)


def test_what_is_said_again_under_the_id_of_another_item_has_no_id() -> None:
    """A message goes on where its parts follow each other; an id may be sent once."""
    spoken = said("assistant", text("I look.") | {"id": "msg_1"}, group="a")
    items = rendered("openai-responses", ASKED, spoken, ITEMS[0], spoken)["input"]
    assert not any("id" in item for item in items)
    assert [item["content"] for item in items[1:]] == ["I look.", "I look."]


def test_what_was_thought_in_one_answer_does_not_lead_to_another() -> None:
    other = said("assistant", text("Hello.") | {"id": "msg_2"}, group="b")
    items = rendered("openai-responses", ASKED, ITEMS[0], other)["input"]
    assert [item.get("id") for item in items] == [None, "msg_2"]


def test_items_behind_a_changed_window_have_no_ids() -> None:
    items = rendered("openai-responses", ASKED, *ITEMS, since=None)["input"]
    assert not any("id" in item for item in items)
    assert [item.get("type", "message") for item in items] == [
        *("message", "message", "function_call", "function_call_output")
    ]


# -- files -----------------------------------------------------------------------------------------

PDF = {"type": "file", "media_type": "application/pdf", "data": "AA==", "filename": "a.pdf"}
LINKED = {"type": "file", "media_type": "image/png", "url": "https://example.com/a.png"}
SOUND = {"type": "file", "media_type": "audio/wav", "data": "AA=="}
THEIRS = {"type": "file", "media_type": "image/png", "file_id": "f1"}


def only_part(kind: str, file: Json) -> Json:
    """The file as the user shows it."""
    (message,) = next(iter(rendered(kind, said("user", file)).values()))
    (part,) = message.get("content") or message["parts"]
    return dict(part)


@pytest.mark.parametrize(
    ("kind", "file", "shown"),
    [
        ("openai-chat", LINKED, {"type": "image_url", "image_url": {"url": LINKED["url"]}}),
        (
            "openai-chat",
            PDF,
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
            },
        ),
        (
            "openai-chat",
            SOUND,
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        ),
        (
            "openai-responses",
            LINKED,
            {"type": "input_image", "detail": "auto", "image_url": LINKED["url"]},
        ),
        (
            "openai-responses",
            PDF,
            {
                "type": "input_file",
                "file_data": "data:application/pdf;base64,AA==",
                "filename": "a.pdf",
            },
        ),
        (
            "anthropic",
            LINKED,
            {"type": "image", "source": {"type": "url", "url": LINKED["url"]}},
        ),
        (
            "anthropic",
            IMAGE | {"data": None, "url": "data:image/png;base64,AA=="},
            None,
        ),
        (
            "anthropic",
            PDF,
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
            },
        ),
        (
            "ai-sdk",
            LINKED,
            {"type": "file", "mediaType": "image/png", "url": LINKED["url"]},
        ),
    ],
)
def test_files_are_shown_as_each_provider_takes_them(
    kind: str, file: Json, shown: Json | None
) -> None:
    file = {name: value for name, value in file.items() if value is not None}
    shown = shown or {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
    }
    assert only_part(kind, file) == shown


# -- what can't be expressed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message", "says"),
    [
        ("openai-chat", said("user", {"type": "hologram"}), "'hologram' is none of those"),
        ("anthropic", said("user", {"type": "tool-call"}), "'tool-call' is not what"),
        ("openai-responses", said("narrator", text("x")), "the role 'narrator'"),
        ("anthropic", said("user", SOUND), "audio/wav"),
        ("openai-responses", said("user", SOUND), "audio/wav"),
        ("openai-chat", said("user", THEIRS), "image/png"),
        ("ai-sdk", said("user", THEIRS), "image/png"),
        ("openai-chat", said("assistant", IMAGE), "file (image/png) of the assistant"),
        ("anthropic", said("system", IMAGE), "file (image/png) of the system"),
        ("openai-chat", said("user", call("c")), "tool-call of the user"),
    ],
)
def test_what_can_not_be_expressed_names_the_message(kind: str, message: Json, says: str) -> None:
    with pytest.raises(NotExpressible) as refused:
        rendering(kind, ASKED, message)
    assert says in refused.value.message
    assert refused.value.seq == 2


def test_a_bad_result_names_the_message_of_the_call() -> None:
    bad = said("tool", result("c1", [{"type": "hologram"}], "parts"))
    with pytest.raises(NotExpressible) as refused:
        rendering("openai-chat", ASKED, CALLED, bad)
    assert refused.value.seq in (2, 3)


def test_what_a_compaction_put_there_has_no_seq() -> None:
    with pytest.raises(NotExpressible) as refused:
        render("anthropic", stored([said("user", {"type": "hologram"})], first_seq=None), 0)
    assert refused.value.seq is None

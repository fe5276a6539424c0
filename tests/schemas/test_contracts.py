"""The files under `schemas/` say what the code does, and the codec is as strict as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.shapes import READERS
from rewindow.contracts import FOLDER, committed, contracts, write
from schemas.codec import Unreadable, decode_event, encode_event, encode_fact, type_of
from schemas.events import EVENT_TYPES, LogEvent
from schemas.facts import FACT_TYPES
from schemas.limits import SKIP_KINDS_MAX, TOKEN_BUDGET_MAX, TOKEN_COUNT_MAX
from schemas.records import event_schemas, fact_schemas
from schemas.topics import Topics
from tests.schemas.test_golden import GOLDEN
from tests.support.contracts import closed, references, resolved, validator
from tests.support.fold import World
from tests.support.strategies import events, logs, mutated_records

EVENTS = {name: validator(schema) for name, schema in event_schemas(READERS).items()}
FACTS = {
    name: validator(closed(schema, ("definitions",)))
    for name, schema in fact_schemas(READERS).items()
}


def test_the_files_are_what_the_code_says() -> None:
    assert committed() == contracts(), "run `make contracts`, and look at what has changed"


def test_every_type_has_a_file() -> None:
    names = {path.name.removesuffix(".schema.json") for path in FOLDER.glob("json/*.json")}
    assert names == EVENT_TYPES.keys() | FACT_TYPES.keys()


def test_writing_makes_them_anew_and_takes_away_what_stands_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "message.forgotten.v1.schema.json").write_text("{}")
    (tmp_path / "openapi.json").write_text("{}")
    write(tmp_path)
    assert committed(tmp_path) == contracts()


# -- records -----------------------------------------------------------------------------------


@given(event=events())
def test_every_event_that_we_write_is_valid(event: LogEvent) -> None:
    EVENTS[type_of(event.data)].validate(json.loads(encode_event(event)))


@given(log=logs())
def test_every_fact_that_we_write_is_valid_and_holds_nothing_that_is_not_listed(
    log: list[LogEvent],
) -> None:
    world = World()
    world.take_all(*log)
    for subject, fact in world.facts:
        record = json.loads(encode_fact(fact, fact_id="0.1.2", subject=subject))
        FACTS[type_of(fact)].validate(record)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_record_is_valid(path: Path) -> None:
    record = json.loads(path.read_text())
    (EVENTS | FACTS)[record["type"]].validate(record)


@given(record=mutated_records())
def test_what_a_schema_refuses_the_codec_refuses(record: tuple[bytes, bytes]) -> None:
    key, value = record
    try:
        event = decode_event(key, value)
    except Unreadable:
        return
    EVENTS[type_of(event.data)].validate(json.loads(value))


MESSAGE = {"role": "user", "parts": [{"type": "text"}]}
APPENDED = {"messages": [MESSAGE]}
WATERMARKS = {"watermarks": [["c", 1]], "tail_keep": 0}
SKIP_PARTS = {"strategy": "skip_parts", "config": {}}


def said(**fields: object) -> dict[str, Any]:
    return {"messages": [MESSAGE | fields]}


def policy(strategy: str, **config: object) -> dict[str, Any]:
    return {"policy": {"strategy": strategy, "config": config}}


# The bounds stand here as they are: what was taken once is taken for ever, whatever they become.
GOOD = {
    "context.configured.v1": [
        {},
        {"token_budget": 100_000_000, "trigger_ratio": 1, "encoding": "approximate"},
        {"token_budget": None, "trigger_ratio": None, "encoding": None, "metadata": None},
        {"policy": None, "metadata": {"a": [None, 1e300]}},
        {"policy": {"strategy": "manual"}},
        policy("last_n", limit=1_000_000_000),
        policy("skip_parts", skip_kinds=[], limit=None),
        policy("skip_parts", skip_kinds=["x" * 200] * 64, limit=1_000_000_000),
    ],
    "message.appended.v1": [
        APPENDED,
        APPENDED | {"if_version": None, "create": False, "counted": None},
        APPENDED | {"if_version": 2**70, "counted": {"rule": "o200k_base/1", "token_counts": []}},
        {"messages": [MESSAGE] * 100, "a later field": 1},
        said(token_count=None, id=None, metadata={}, role="\0" * 64),
        said(parts=[{"type": "\0", "more": {"type": 5}}], token_count=1_000_000_000, id=""),
        said(metadata=json.loads('{"a":' * 126 + "1" + "}" * 126)),
    ],
    "window.compacted.v1": [
        {"replacement": []},
        {"replacement": [MESSAGE] * 10_000, "if_version": 0},
    ],
    "messages.undone.v1": [
        {"from_seq": 1},
        {"from_seq": 2**70, "if_version": None, "a later field": 1},
        {"from_seq": 5, "if_version": 0},
    ],
    "metadata.patched.v1": [{"metadata": {"a": None}}],
    "context.tombstoned.v1": [{}, {"why": "a later field"}],
    "archive.advanced.v1": [
        {"watermarks": [["x" * 512, 2**70]] * 1000, "tail_keep": 2**70},
        {"watermarks": [], "tail_keep": 0},
    ],
}
BAD = {
    "context.configured.v1": [
        [],
        None,
        {"token_budget": 0},
        {"token_budget": TOKEN_BUDGET_MAX + 1},
        {"token_budget": "1"},
        {"token_budget": 1.5},
        {"trigger_ratio": 0},
        {"trigger_ratio": 1.01},
        {"encoding": "p50k_base"},
        {"metadata": []},
        {"metadata": "{}"},
        {"policy": {}},
        {"policy": {"strategy": "first_n", "config": {"limit": 1}}},
        {"policy": {"strategy": "last_n"}},
        {"policy": SKIP_PARTS | {"more": 1}},
        policy("last_n"),
        policy("last_n", limit=0),
        policy("last_n", limit=1, more=1),
        policy("skip_parts", skip_kinds=[""]),
        policy("skip_parts", skip_kinds=["x" * 201]),
        policy("skip_parts", skip_kinds=["x"] * (SKIP_KINDS_MAX + 1)),
        policy("skip_parts", limit="1"),
        policy("manual", limit=1),
    ],
    "message.appended.v1": [
        {},
        {"messages": []},
        {"messages": None},
        {"messages": [MESSAGE] * 101},
        {"messages": [{"role": "user"}]},
        {"messages": [{"parts": [{"type": "text"}]}]},
        said(role=""),
        said(role="x" * 65),
        said(role=None),
        said(parts=[]),
        said(parts={"type": "text"}),
        said(parts=None),
        said(parts=["text"]),
        said(parts=[{"text": "no type"}]),
        said(parts=[{"type": ""}]),
        said(parts=[{"type": None}]),
        said(token_count=-1),
        said(token_count=TOKEN_COUNT_MAX + 1),
        said(token_count=True),
        said(metadata=[]),
        said(metadata=None),
        said(id=5),
        APPENDED | {"if_version": -1},
        APPENDED | {"if_version": "1"},
        APPENDED | {"create": None},
        APPENDED | {"create": "yes"},
        APPENDED | {"counted": {"rule": "o200k_base/1"}},
        APPENDED | {"counted": {"rule": "o200k_base/1", "token_counts": [-1]}},
    ],
    "window.compacted.v1": [{}, {"replacement": None}, {"replacement": [MESSAGE] * 10_001}],
    "messages.undone.v1": [
        {},
        {"from_seq": 0},
        {"from_seq": -1},
        {"from_seq": None},
        {"from_seq": "1"},
        {"from_seq": 1.5},
        {"from_seq": 1, "if_version": -1},
    ],
    "metadata.patched.v1": [{}, {"metadata": None}, {"metadata": [1]}],
    "context.tombstoned.v1": [None, [], "closed"],
    "archive.advanced.v1": [
        {"watermarks": []},
        {"tail_keep": 1},
        WATERMARKS | {"tail_keep": -1},
        WATERMARKS | {"watermarks": [["c"]]},
        WATERMARKS | {"watermarks": [["c", 1, 2]]},
        WATERMARKS | {"watermarks": [["c", -1]]},
        WATERMARKS | {"watermarks": [[1, "c"]]},
        WATERMARKS | {"watermarks": [["a/b", 1]]},
        WATERMARKS | {"watermarks": [["c", 1]] * 1001},
    ],
}
ENVELOPES: list[dict[str, Any]] = [
    {"specversion": "0.3"},
    {"id": ""},
    {"id": "x" * 201},
    {"id": "a\nb"},
    {"id": 5},
    {"source": None},
    {"subject": ""},
    {"subject": "a/b"},
    {"subject": "a\x85b"},
    {"subject": "x" * 513},
    {"type": "message.appended.v0"},
    {"data": None},
]


def record(name: str, data: object) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "1",
        "source": "/tests",
        "type": name,
        "subject": "c",
        "data": data,
    }


def read(event: dict[str, Any]) -> bool:
    """Whether the codec takes it."""
    try:
        decode_event(str(event["subject"]).encode(), json.dumps(event).encode())
    except Unreadable:
        return False
    return True


def cases(told: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, data) for name, every in told.items() for data in every]


@pytest.mark.parametrize(("name", "data"), cases(GOOD))
def test_both_take_what_is_right(name: str, data: object) -> None:
    EVENTS[name].validate(record(name, data))
    assert read(record(name, data))


@pytest.mark.parametrize("longest", [{"id": "x" * 200}, {"subject": "x" * 512}])
def test_both_take_the_longest_names(longest: dict[str, str]) -> None:
    event = record("message.appended.v1", APPENDED) | longest
    EVENTS["message.appended.v1"].validate(event)
    assert read(event)


@pytest.mark.parametrize(("name", "data"), cases(BAD))
def test_both_refuse_wrong_data(name: str, data: object) -> None:
    assert not EVENTS[name].is_valid(record(name, data))
    assert not read(record(name, data))


@pytest.mark.parametrize("wrong", ENVELOPES)
def test_both_refuse_a_wrong_envelope(wrong: dict[str, Any]) -> None:
    event = record("message.appended.v1", APPENDED) | wrong
    assert not EVENTS["message.appended.v1"].is_valid(event)
    assert not read(event)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "data"])
def test_nothing_of_an_envelope_may_be_missing(name: str) -> None:
    event = record("message.appended.v1", APPENDED)
    key = event["subject"].encode()
    del event[name]
    assert not EVENTS["message.appended.v1"].is_valid(event)
    with pytest.raises(Unreadable):
        decode_event(key, json.dumps(event).encode())


@given(more=st.dictionaries(st.sampled_from(["time", "requestid", "traceparent", "x"]), st.text()))
def test_both_take_any_attribute_more(more: dict[str, str]) -> None:
    event = record("message.appended.v1", APPENDED) | more
    EVENTS["message.appended.v1"].validate(event)
    assert read(event)


# -- topics ------------------------------------------------------------------------------------


def test_the_topics_document_names_our_topics_and_files_that_are_there() -> None:
    document = json.loads((FOLDER / "asyncapi.json").read_text())
    addresses = {channel["address"] for channel in document["channels"].values()}
    topics = Topics()
    assert addresses == {topics.log, topics.facts, topics.dead, topics.changelog("{table}")}
    for reference in references(document):
        if reference.startswith("#/"):
            assert resolved(document, reference)
        else:
            assert (FOLDER / reference).is_file()

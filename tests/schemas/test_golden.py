"""Golden records: the bytes of everything that outlives a process, as they were first shipped.

What was written then can be read for ever, and records are written today as they were then. A file
is never edited: what is new gets a file of its own. A name is the type, or the kind of row, and
what is special about it; the bytes of a row are there in hex.
"""

import hashlib
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.structs import replace

from schemas.codec import decode_event, decode_fact, encode_event, encode_fact
from schemas.events import (
    EVENT_TYPES,
    ArchiveAdvanced,
    ContextConfigured,
    ContextTombstoned,
    Counted,
    LogEvent,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    WindowCompacted,
)
from schemas.facts import (
    FACT_TYPES,
    ContextChanged,
    Fact,
    MessageAccepted,
    RequestRefused,
    UndoAccepted,
    WindowChanged,
)
from schemas.policy import LastN, LastNConfig, Manual, SkipParts, SkipPartsConfig
from schemas.trail import Trail
from streams.core.head import (
    ControlAnswer,
    Head,
    Live,
    Summary,
    UndoAnswer,
    Undos,
    Window,
    decode_head,
    encode_head,
)
from streams.core.rows import (
    Answer,
    MessageJson,
    answer_of,
    answer_row,
    event_hash_of,
    message_of,
    message_row,
    tokens_of,
)
from streams.core.undone import UndoneRange, undone_of, undone_row

GOLDEN = Path(__file__).parent / "golden"
HASH = bytes(range(16))
TRAIL = Trail("req-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

LEAST = Message("user", Raw(b'[{"type":"text"}]'))
WHOLE = Message(
    "tool",
    Raw(b'[{"type":"tool_result","n":1.0,"big":1e400,"text":"\\u0000\xc3\xa9"},{"type":"x"}]'),
    token_count=7,
    metadata=Raw(b'{"a":1,"a":2}'),
    id="m-1",
)
SHOWN = Raw(
    b'{"version":3,"token_count":7,"inserted_at":"2026-01-31T23:59:59.123Z","role":"user",'
    b'"parts":[{"type":"text"}],"metadata":{},"seq":5}'
)

CONTEXT = Raw(
    b'{"id":"demo","status":"active","token_budget":8192,"trigger_ratio":0.7,"policy":'
    b'{"strategy":"last_n","config":{"limit":400}},"encoding":"o200k_base","metadata":{"a":1.0},'
    b'"version":3,"last_seq":5,"archived_seq":4,"used_tokens":7,"needs_compaction":false,'
    b'"created_at":"2026-01-31T23:59:59.000Z","updated_at":"2026-01-31T23:59:59.123Z"}'
)


def event(data: object, subject: str = "demo", trail: Trail = TRAIL) -> LogEvent:
    return LogEvent("key-1", subject, "/golden", data, trail)  # type: ignore[arg-type]


EVENTS = {
    "context.configured.v1": event(ContextConfigured()),
    "context.configured.v1-whole": event(
        ContextConfigured(
            4000, 0.5, LastN(LastNConfig(20)), "cl100k_base", Raw(b'{"team":"caf\\u00e9"}')
        )
    ),
    "context.configured.v1-skip_parts": event(
        ContextConfigured(policy=SkipParts(SkipPartsConfig(("tool", "image"), 5)))
    ),
    "context.configured.v1-manual": event(ContextConfigured(policy=Manual())),
    "message.appended.v1": event(MessageAppended((LEAST,)), "Grüße, 世界 🙂?", Trail()),
    "message.appended.v1-whole": event(
        MessageAppended((LEAST, WHOLE), 4, False, Counted("o200k_base/1", (6, 7)))
    ),
    "window.compacted.v1": event(WindowCompacted(())),
    "window.compacted.v1-whole": event(
        WindowCompacted((WHOLE, LEAST), 9, Counted("approximate/1", (7, 6)))
    ),
    "messages.undone.v1": event(MessagesUndone(5)),
    "messages.undone.v1-whole": event(MessagesUndone(1, 9)),
    "metadata.patched.v1": event(MetadataPatched(Raw(b'{"team":null,"more":[1,{}]}'))),
    "context.tombstoned.v1": event(ContextTombstoned()),
    "archive.advanced.v1": event(ArchiveAdvanced((("demo", 5), ("a b", 0)), 1000), "watermarks"),
}
FOREIGN = {
    "message.appended.v1-foreign": event(MessageAppended((LEAST,)), "demo", Trail("req-1")),
    "context.configured.v1-foreign": event(ContextConfigured(4000), "demo", Trail()),
}
"""Written by others: white space, nulls, attributes and fields that we don't know."""
FACTS: dict[str, Fact] = {
    "message.accepted.v1": MessageAccepted("key-1", SHOWN),
    "undo.accepted.v1": UndoAccepted("key-1", 6, 5, 9, 4),
    "window.changed.v1": WindowChanged(
        "key-1",
        6,
        120,
        True,
        (
            {"type": "summary", "from_seq": 1, "to_seq": 4},
            {"type": "live", "from_seq": 5, "to_seq": 9},
        ),
    ),
    "context.changed.v1": ContextChanged("key-1", 3, CONTEXT),
    "request.refused.v1": RequestRefused("key-1", 3, "conflict", "if_version is 2, not 3"),
}
HEADS = {
    "head": Head(offset=7, created_at=1_780_000_000_000, updated_at=1_780_000_000_001),
    "head-whole": Head(
        offset=2**40,
        created_at=1_780_000_000_000,
        updated_at=1_780_000_000_001,
        version=9,
        last_seq=8,
        archived_seq=5,
        trimmed_seq=4,
        status="tombstoned",
        token_budget=4000,
        trigger_ratio=0.5,
        policy=SkipParts(SkipPartsConfig(("tool",), 5)),
        encoding="approximate",
        metadata=b'{"a":1.0}',
        window=Window((Summary(6, 0, 2, 1, 4, ("tool",)), Live(5, 8, 6, ("tool",))), 5, 120),
        answers=(ControlAnswer(HASH, HASH[::-1], 6), ControlAnswer(HASH, HASH, 0, True)),
        trimmed_version=4,
    ),
}
HEADS["head-undone"] = replace(
    HEADS["head-whole"], undos=Undos(2, (UndoAnswer(HASH, HASH[::-1], 9, 4, 5, 9),))
)
UNDONE = {"undone": UndoneRange(5, 9, 7, 9)}
ANSWERS = {"answer": Answer(HASH, 5, 3, (7, 1))}
MESSAGES = {
    "message": (LEAST, 5),
    "message-whole": (WHOLE, 6),
    "message-replacement": (LEAST, None),
}


def record(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def row(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def test_no_golden_file_was_ever_edited() -> None:
    """Every file stands in SHA256SUMS, as `sha256sum` writes it. That list only grows."""
    sums = dict(
        reversed(line.split("  ", 1)) for line in (GOLDEN / "SHA256SUMS").read_text().splitlines()
    )
    files = [path for path in GOLDEN.iterdir() if path.name != "SHA256SUMS"]
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == sums


def test_every_file_is_read_by_a_test() -> None:
    records = EVENTS.keys() | FOREIGN.keys() | FACTS.keys()
    rows = HEADS.keys() | ANSWERS.keys() | MESSAGES.keys() | UNDONE.keys()
    files = {path.name for path in GOLDEN.iterdir()} - {"SHA256SUMS"}
    assert files == {f"{name}.json" for name in records} | {f"{name}.hex" for name in rows}


def test_every_type_has_one() -> None:
    assert EVENT_TYPES.keys() <= EVENTS.keys()
    assert FACT_TYPES.keys() == FACTS.keys()


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_written_and_read_as_ever(name: str) -> None:
    assert encode_event(EVENTS[name]) == record(name)
    assert decode_event(EVENTS[name].subject.encode(), record(name)) == EVENTS[name]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_write_is_read_as_ever(name: str) -> None:
    read = decode_event(FOREIGN[name].subject.encode(), record(name))
    assert read == FOREIGN[name]


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_written_and_read_as_ever(name: str) -> None:
    written = encode_fact(FACTS[name], fact_id="1.23.0", subject="demo", trail=TRAIL)
    assert written == record(name)
    assert decode_fact(record(name)) == ("demo", FACTS[name])


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_read_as_ever(name: str) -> None:
    assert decode_head(row(name)) == HEADS[name]


@pytest.mark.parametrize("name", ["head", "head-whole", "head-undone"])
def test_a_head_that_has_changed_gets_new_files(name: str) -> None:
    """A field more is a new golden head, named here in the place of the old one."""
    assert encode_head(HEADS[name]) == row(name)


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_written_and_read_as_ever(name: str) -> None:
    assert answer_row(ANSWERS[name]) == row(name)
    assert answer_of(row(name)) == ANSWERS[name]


@pytest.mark.parametrize("name", UNDONE)
def test_undone_ranges_are_written_and_read_as_ever(name: str) -> None:
    assert undone_row(UNDONE[name]) == row(name)
    assert undone_of(row(name)) == UNDONE[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_message_rows_are_written_and_read_as_ever(name: str) -> None:
    message, seq = MESSAGES[name]
    written = message_row(
        message, seq=seq, version=3, tokens=7, timestamp_ms=1_780_000_000_000, event_hash=HASH
    )
    assert written == row(name)
    assert (tokens_of(row(name)), event_hash_of(row(name))) == (7, HASH)
    read: MessageJson = message_of(row(name))
    assert (read.role, read.parts, read.id) == (message.role, message.parts, message.id)

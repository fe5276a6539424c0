"""The fold agent on a real log: in order, each once, whatever is delivered and whatever it is."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from schemas.codec import encode_event
from schemas.events import LogEvent
from schemas.facts import RequestRefused
from schemas.limits import LOG_RECORD_BYTES_MAX, MESSAGE_BYTES_MAX, RECORD_LEVELS_MAX
from streams.agents import fold as agents
from streams.core.outcome import Appended
from streams.tables.lane import WRITTEN_MAX
from tests.support.deployment import Deployment
from tests.support.fold import append, archived, message, messages, part
from tests.support.strategies import mutated_records
from tests.support.tables import Tables, tables_of
from tests.support.wait import until_async


@pytest.fixture
async def tables(deployment: Deployment, tmp_path: Path) -> AsyncIterator[Tables]:
    """The owner of the one partition."""
    async with tables_of(deployment, tmp_path / "tables") as tables:
        await tables.own(0)
        yield tables


async def is_exact(tables: Tables) -> None:
    """Assert that everything in the log is folded, each record once, in order."""
    tables.deployment.is_exact([await tables.folded()])


# -- in order, each once ---------------------------------------------------------------------------


async def test_what_is_there_is_folded_published_and_answered(
    tables: Tables, deployment: Deployment
) -> None:
    first, second = append(*messages(1, 2)), append(*messages(3))
    answers = [tables.waiters.expect(0, "c", event.id) for event in (first, second)]
    deployment.write(first, second)
    tables.deliver(*deployment.read(deployment.topics.log))
    outcomes = [(await answer).outcome for answer in answers]
    assert outcomes == [Appended(1, 2, 1, (1, 2)), Appended(3, 3, 2, (3,))]
    await is_exact(tables)
    assert [fact_id for fact_id, _, _ in deployment.facts()] == ["0.0.0", "0.0.1", "0.1.0"]


async def test_what_comes_twice_or_late_is_dropped(tables: Tables, deployment: Deployment) -> None:
    deployment.write(*(append(*messages(n)) for n in range(6)))
    log = deployment.read(deployment.topics.log)
    tables.deliver(log[0], log[1], log[0], log[2], log[1], log[1], *log, *log[2:4])
    await is_exact(tables)


async def test_what_was_never_delivered_is_read_from_the_log(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(*(append(*messages(n)) for n in range(9)))
    log = deployment.read(deployment.topics.log)
    with capture_logs() as logs:
        tables.deliver(log[3], log[4], log[8], log[5])
        await is_exact(tables)
    beside = [(e["first"], e["next"]) for e in logs if e["event"] == "read the log beside Faust"]
    assert beside == [(0, 3), (5, 8)]


async def test_records_that_come_in_another_order_are_folded_in_theirs(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(*(append(*messages(n)) for n in range(5)))
    tables.deliver(*reversed(deployment.read(deployment.topics.log)))
    await is_exact(tables)


async def test_holes_of_transactions_are_passed_and_aborted_records_never_folded(
    tables: Tables, deployment: Deployment
) -> None:
    stranger = deployment.transactional()
    for n, commit in enumerate((True, False, False, True)):
        deployment.write(append(*messages(n)))
        deployment.transact(stranger, append(*messages(50 + n)), append(), commit=commit)
    log = deployment.read(deployment.topics.log)
    assert len(log) == 8
    tables.deliver(*log)

    async def all_taken() -> bool:
        return tables.lane().next > log[-1].offset()

    await until_async(all_taken, "all that was delivered is folded")
    # The marker at the very end is no record, so that only the watch can come upon it.
    await tables.read_on()
    await is_exact(tables)
    head = tables.lane().head("c")
    assert head is not None
    assert head.last_seq == 8


async def test_what_this_node_wrote_is_folded_before_it_comes_back(
    tables: Tables, deployment: Deployment
) -> None:
    """As soon as the broker has it; what comes back through Faust then is no news."""
    deployment.write(*(append(*messages(n)) for n in range(4)))
    log = deployment.read(deployment.topics.log)
    tables.wrote(*log[:2])
    assert tables.lane().next == 2, "nothing was awaited, nothing delivered"
    tables.deliver(*log)
    await is_exact(tables)
    tables.wrote(*log)
    await is_exact(tables)


async def test_what_this_node_wrote_waits_for_what_others_wrote_before_it(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(*(append(*messages(n)) for n in range(6)))
    log = deployment.read(deployment.topics.log)
    tables.wrote(log[1], log[2], log[4])
    assert tables.lane().next == 0
    tables.deliver(log[0])

    async def reached(offset: int) -> bool:
        return tables.lane().next == offset

    await until_async(lambda: reached(3), "what followed is folded without being delivered")
    tables.deliver(log[3])
    await until_async(lambda: reached(5), "and so is what followed that")
    tables.deliver(log[5])
    await is_exact(tables)


async def test_of_what_this_node_wrote_no_more_is_kept_than_comes_soon(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(*(append(*messages(n)) for n in range(WRITTEN_MAX + 10)))
    log = deployment.read(deployment.topics.log)
    tables.wrote(*log[1:])
    assert len(tables.lane().written) == WRITTEN_MAX
    tables.deliver(*log)
    await is_exact(tables)
    assert not tables.lane().written


async def test_nothing_that_this_node_wrote_is_folded_where_a_partition_is_not_its_own(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(append())
    (record,) = deployment.read(deployment.topics.log)
    tables.journal.forget()
    tables.wrote(record)
    await tables.own(0)
    assert tables.lane().next == 0
    tables.deliver(record)
    await is_exact(tables)


async def test_a_watermark_trims_what_every_replay_trims(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(
        *(append(*messages(5000, 5000), context=name) for name in ("c", "d", "c", "d")),
        archived({"c": 4, "d": 2, "unknown": 1}),
        archived({"c": 99}),
    )
    tables.deliver(*deployment.read(deployment.topics.log))
    await is_exact(tables)
    refused = [fact.error for _, _, fact in deployment.facts() if isinstance(fact, RequestRefused)]
    assert refused == ["not_found", "invalid_request"]


@pytest.mark.parametrize("way", ["delivered", "read beside Faust"])
async def test_a_partition_that_goes_in_the_middle_is_neither_folded_on_nor_stored(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(agents, "SLICE_S", 0)
    events = [append(*messages(n)) for n in range(20)]
    lane = tables.lane()
    answer = tables.waiters.expect(0, "c", events[6].id)
    answer.add_done_callback(lambda _: tables.journal.forget())
    deployment.write(*events)
    log = deployment.read(deployment.topics.log)
    tables.deliver(*(log if way == "delivered" else log[-1:]))
    await answer

    async def left_alone() -> bool:
        return not tables.journal.lanes and not lane.turn.locked()

    await until_async(left_alone, "the partition is gone")
    assert 7 <= lane.next < 10, "nothing is folded for somebody else"
    assert lane.durable < 7

    await tables.own(0)
    tables.deliver(*log)
    await is_exact(tables)


async def test_a_log_that_can_not_be_read_is_asked_again(
    tables: Tables, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "RETRY_S", 0)
    visible, tries = tables.source.visible, []

    def fails_first(partition: int, start: int, end: int) -> object:
        tries.append(start)
        if len(tries) < 3:
            raise KafkaException("no answer")
        return visible(partition, start, end)

    monkeypatch.setattr(tables.source, "visible", fails_first)
    deployment.write(append(), append())
    tables.deliver(deployment.read(deployment.topics.log)[-1])
    await is_exact(tables)
    assert tries == [0, 0, 0]


async def test_events_that_retention_takes_under_the_fold_are_an_alarm(
    tables: Tables, deployment: Deployment
) -> None:
    deployment.write(*(append(*messages(n)) for n in range(6)))
    deployment.delete_before(deployment.topics.log, 4)
    with capture_logs() as logs:
        tables.deliver(*deployment.read(deployment.topics.log))
        await tables.folded()
    assert [(e["first"], e["last"]) for e in logs if e["log_level"] == "error"] == [(0, 3)]
    head = tables.lane().head("c")
    assert head is not None
    assert head.last_seq == 2


# -- bad input -------------------------------------------------------------------------------------


def altered(change: dict[str, object], event: LogEvent | None = None) -> bytes:
    envelope = json.loads(encode_event(append(context="c") if event is None else event))
    return json.dumps(envelope | change).encode()


def deep(levels: int) -> bytes:
    data = {"messages": [{"role": "user", "parts": [{"type": "t", "x": "DEEP"}]}]}
    return altered({"data": data}).replace(b'"DEEP"', b"[" * levels + b"]" * levels)


GARBAGE = {
    "a null key": (None, altered({}), "the record has no key; set it to the context id, in UTF-8"),
    "a null value": (b"c", None, "the record has no value; the log holds events, not deletions"),
    "nothing": (b"", b"", "not a CloudEvent: "),
    "another key": (b"d", altered({}), "the record's key differs from the event's subject"),
    "not UTF-8": (b"c", b'{"id":"\xff"}', "not valid UTF-8 at byte 7; send UTF-8"),
    "a key that is not UTF-8": (b"\xff", altered({}), "the record's key differs from"),
    "half a surrogate pair": (b"c", altered({}).replace(b"event-", b"\\ud800"), "not a CloudEvent"),
    "no JSON": (b"c", b"hello", "not a CloudEvent: JSON is malformed"),
    "no object": (b"c", b"[1]", "not a CloudEvent: Expected `object`, got `array`"),
    "an unknown type": (
        b"c",
        altered({"type": "message.deleted.v1"}),
        "the type 'message.deleted.v1' is not known to this version",
    ),
    "an unknown version of a type": (
        b"c",
        altered({"type": "message.appended.v2"}),
        "the type 'message.appended.v2' is not known to this version",
    ),
    "an unknown specversion": (
        b"c",
        altered({"specversion": "0.3"}),
        "specversion is '0.3'; only '1.0' is known",
    ),
    "too deep": (
        b"c",
        deep(RECORD_LEVELS_MAX),
        f"nested deeper than {RECORD_LEVELS_MAX} levels; flatten the value",
    ),
    "very deep": (b"c", b"[" * 1_000_000, f"nested deeper than {RECORD_LEVELS_MAX} levels"),
    "data of another type": (
        b"c",
        altered({"type": "context.configured.v1", "data": {"token_budget": 0}}),
        "the data of context.configured.v1 are not valid: Expected `int` >= 1",
    ),
    "an empty context id": (b"", altered({"subject": ""}), "the context id is empty"),
    "a context id with NUL": (
        b"\0position",
        altered({"subject": "\0position"}),
        "the context id holds '/' or a control character",
    ),
    "a context id that is too long": (
        b"x" * 513,
        altered({"subject": "x" * 513}),
        "the context id has 513 bytes; at most 512 are allowed",
    ),
    "an event id that is too long": (
        b"c",
        altered({"id": "x" * 201}),
        "the event id (idempotency key) has 201 characters; at most 200 are allowed",
    ),
    "a watermark of an id that can't be": (
        b"c",
        altered(
            {"type": "archive.advanced.v1", "data": {"watermarks": [["a/b", 1]], "tail_keep": 1}}
        ),
        "the context id holds '/'",
    ),
}


async def test_garbage_lies_in_the_dead_letters_and_the_partition_goes_on(
    tables: Tables, deployment: Deployment
) -> None:
    for key, value, _ in GARBAGE.values():
        deployment.write_bytes((key, value))
        deployment.write(append(*messages(1)))
    tables.deliver(*deployment.read(deployment.topics.log))
    await is_exact(tables)

    head = tables.lane().head("c")
    assert head is not None
    assert head.last_seq == len(GARBAGE), "every good event between is folded"
    dead = deployment.dead()
    topic = deployment.topics.log.encode()
    for number, (record, (key, value, reason)) in enumerate(
        zip(dead, GARBAGE.values(), strict=True)
    ):
        headers = dict(record.headers() or ())
        assert (record.key(), record.value()) == (key, value), "the original bytes"
        assert headers.pop("reason").decode().startswith(reason)
        assert headers == {"topic": topic, "partition": b"0", "offset": b"%d" % (2 * number)}


async def test_a_message_above_the_limit_is_refused_by_a_fact(
    tables: Tables, deployment: Deployment
) -> None:
    large = append(message(part(text="x" * MESSAGE_BYTES_MAX), tokens=1), key="large")
    many = append(*(message(part(text="x" * 900_000), tokens=1) for _ in range(5)), key="many")
    deployment.write(append(*messages(1)), large, many, append(*messages(2)))
    tables.deliver(*deployment.read(deployment.topics.log))
    await is_exact(tables)
    refused = [fact for _, _, fact in deployment.facts() if isinstance(fact, RequestRefused)]
    assert [(fact.event_id, fact.error, fact.version) for fact in refused] == [
        ("large", "too_large", 1),
        ("many", "too_large", 1),
    ]
    assert "messages[0] has 10486" in refused[0].message
    assert "at most 1048576 are allowed" in refused[0].message
    assert "at most 4194304 are allowed at once" in refused[1].message


async def test_a_record_that_unpacks_to_more_than_any_topic_takes_stops_nothing(
    tables: Tables, deployment: Deployment
) -> None:
    """Brokers measure records as they are sent, which is compressed."""
    size = 2 * LOG_RECORD_BYTES_MAX
    packed = deployment.packing()
    packed.produce(deployment.topics.log, b" " * size, b"c", 0)
    packed.produce(deployment.topics.log, b"{}", b"k" * size, 0)
    packed.produce(
        deployment.topics.log, encode_event(append(message(part(text=" " * size)))), b"c", 0
    )
    assert packed.flush(20) == 0
    deployment.write(append(*messages(1)))
    tables.deliver(*deployment.read(deployment.topics.log))
    await is_exact(tables)
    for record, key, value in zip(deployment.dead(), (b"c", b"k"), (b" ", b"{"), strict=True):
        assert (record.key() or b"").startswith(key)
        assert (record.value() or b"").startswith(value)
        reason = dict(record.headers() or ())["reason"].decode()
        assert "the rest is in the log" in reason
        assert len((record.key() or b"") + (record.value() or b"")) < 100_000


async def test_the_clock_that_counts_is_the_brokers(tables: Tables, deployment: Deployment) -> None:
    year_9999, year_1969 = 253_402_300_799_000, -1
    for clock in (year_9999, year_1969 + 1):
        event = append(*messages(1))
        deployment.write_bytes((b"c", encode_event(event)), timestamp=clock)
    tables.deliver(*deployment.read(deployment.topics.log))
    await is_exact(tables)
    years = {json.loads(body)["inserted_at"][:2] for _, body in tables.lane().hot("c", range(1, 3))}
    assert years == {"20"}


records = st.one_of(
    st.tuples(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=200)),
    mutated_records(),
)


@settings(
    max_examples=3,
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(batch=st.lists(records, min_size=150, max_size=250))
async def test_any_bytes_on_the_log_are_folded_or_dead(
    tables: Tables, deployment: Deployment, batch: list[tuple[bytes | None, bytes | None]]
) -> None:
    deployment.write_bytes(*batch)
    deployment.write(append(*messages(1), context="the last one"))
    tables.deliver(*deployment.read(deployment.topics.log))
    await is_exact(tables)
    assert tables.lane().head("the last one") is not None

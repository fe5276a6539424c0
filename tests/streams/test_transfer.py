"""A log told again to another one comes to the same state, whatever the number of partitions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]
from msgspec.structs import replace

from schemas.codec import Unreadable, decode_event, encode_event, type_of
from schemas.events import ArchiveAdvanced
from streams import encodings
from streams.core.fold import At
from streams.core.head import Head
from streams.log_writer import partition_of
from streams.tables import source as sources
from streams.target import Target
from streams.topics import TopicsUnfit, partitions_of
from streams.transfer import CannotReplay, Replayed, Wanted, replay
from tests.support.deployment import PATIENCE_S, Deployment
from tests.support.fold import (
    World,
    append,
    archived,
    compact,
    configure,
    last_n,
    messages,
    tombstone,
)
from tests.support.history import history

FROM, TO = 2, 5
CONTEXTS = [f"c-{number}" for number in range(12)]


@pytest.fixture
def old(kafka: str, prefix: str, tmp_path: Path) -> Deployment:
    """Two partitions, with a history that trims, compacts, closes, and uses keys again."""
    old = Deployment(kafka, prefix, tmp_path, partitions=FROM).prepare()
    old.write(*(configure(context=c, budget=6, policy=last_n(1)) for c in CONTEXTS))
    for number in range(4):
        old.write(*(append(*messages(number), context=c, key=f"{number}") for c in CONTEXTS))
    old.write(append(*messages(2), context="c-0", key="2"))
    old.write(compact(context="c-1"), tombstone("c-2"))
    old.write(*(event for event in history() if not isinstance(event.data, ArchiveAdvanced)))
    archive(old, dict.fromkeys(CONTEXTS, 4) | {"long": 28, "closed": 3})
    # Its key is forgotten with the message that was trimmed, so that this is said once more.
    old.write(append(*messages(0), context="c-3", key="0"))
    return old


def archive(deployment: Deployment, seqs: dict[str, int]) -> None:
    """Tell the log of watermarks, as the archive does: an event for each partition."""
    for partition in range(FROM):
        here = {c: seq for c, seq in seqs.items() if partition_of(c, FROM) == partition}
        event = replace(archived(here, tail_keep=1), subject=f"archive/{partition}")
        deployment.write_event(event, partition)


@pytest.fixture
def new(old: Deployment, tmp_path: Path) -> Deployment:
    """Where it is to go: there are no topics yet."""
    prefix = f"{old.settings.prefix}-new"
    return Deployment(old.settings.kafka, prefix, tmp_path, partitions=TO)


def replayed(old: Deployment, new: Deployment, **wanted: Any) -> list[Replayed]:
    wanted = {"partitions": TO} | wanted
    return list(replay(old.settings, Wanted(new.topics.log, **wanted)))


def log_of(deployment: Deployment) -> list[Message]:
    """Every committed record, partition by partition."""
    partitions = partitions_of(deployment.kafka, deployment.topics.log)
    return [m for p in range(partitions) for m in deployment.read(deployment.topics.log, p)]


State = tuple[dict[str, Head], dict[bytes, bytes]]


def state_of(deployment: Deployment) -> State:
    """What a log comes to: heads without the fence, which is a place in one log, and rows."""
    heads: dict[str, Head] = {}
    rows: dict[bytes, bytes] = {}
    partitions = partitions_of(deployment.kafka, deployment.topics.log)
    for partition in range(partitions):
        world = World(encodings.measure)
        for record in deployment.read(deployment.topics.log, partition):
            try:
                event = decode_event(record.key(), record.value())
            except Unreadable:
                continue
            world.fold_at(event, At(record.offset() or 0, record.timestamp()[1]))
        for name, head in world.heads.items():
            assert partition_of(name, partitions) == partition
            heads[name] = replace(head, offset=0)
        rows |= world.rows
    return heads, rows


def is_the_same(old: Deployment, new: Deployment) -> None:
    """Assert that state, events and times are those of the old log, each event once."""
    assert state_of(new) == state_of(old)
    assert sorted(map(told, said_in(new))) == sorted(map(told, said_in(old)))


def said_in(deployment: Deployment) -> Iterator[Message]:
    """Everything but watermarks, which may be divided."""
    for record in log_of(deployment):
        if not isinstance(decode_event(record.key(), record.value()).data, ArchiveAdvanced):
            yield record


def told(record: Message) -> tuple[Any, ...]:
    return record.key(), record.value(), record.timestamp()[1]


def test_another_number_of_partitions_comes_to_the_same_state(
    old: Deployment, new: Deployment
) -> None:
    heads, _ = state_of(old)
    assert len(heads) == len(CONTEXTS) + 3
    assert heads["c-3"].last_seq == 5, "the key was forgotten"
    assert heads["c-0"].last_seq == 4, "the key was not"
    assert heads["c-1"].trimmed_seq > 0
    done = replayed(old, new)
    is_the_same(old, new)
    assert [one.partition for one in done] == list(range(FROM))
    assert sum(one.contexts for one in done) == len(heads)
    assert sum(sum(one.events.values()) for one in done) == len(log_of(old))
    assert sum(bool(new.read(new.topics.log, p)) for p in range(TO)) > FROM


def test_what_comes_later_gets_the_brokers_time(old: Deployment, new: Deployment) -> None:
    replayed(old, new)
    # A node takes it as it is.
    new.prepare()
    new.write(append(context="c-0"))
    kinds = [record.timestamp()[0] for record in log_of(new)]
    assert kinds.count(TIMESTAMP_LOG_APPEND_TIME) == 1
    assert kinds.count(TIMESTAMP_CREATE_TIME) == len(kinds) - 1


def test_as_many_partitions_make_a_copy_to_the_letter(old: Deployment, new: Deployment) -> None:
    replayed(old, new, partitions=None)
    for partition in range(FROM):
        copied, original = (
            [told(record) for record in d.read(d.topics.log, partition)] for d in (new, old)
        )
        assert copied == original


def test_what_is_no_event_of_its_context_is_left_out_and_counted(
    old: Deployment, new: Deployment
) -> None:
    (before, *_) = state_of(old)
    old.write_bytes((b"c-0", b"garbage"), (None, None), partition=1)
    old.transact(old.transactional(), append(context="c-4"), commit=False)
    astray = append(context="c-5", key="astray")
    wrong = 1 - partition_of("c-5", FROM)
    old.write_event(astray, wrong)
    old.write_event(replace(archived({"c-5": 4}), subject="archive/x"), wrong)
    done = replayed(old, new)
    assert [one.unreadable for one in done] == [0, 2]
    assert [one.strays for one in done] == [2 * (p == wrong) for p in range(FROM)]
    assert state_of(new)[0] == before


def test_a_dry_run_counts_and_writes_nothing(old: Deployment, new: Deployment) -> None:
    dry = replayed(old, new, dry=True)
    assert partitions_of(new.kafka, new.topics.log) == 0
    assert dry == replayed(old, new)
    counts: dict[str, int] = {}
    for record in log_of(old):
        kind = type_of(decode_event(record.key(), record.value()).data)
        counts[kind] = counts.get(kind, 0) + 1
    assert {kind: sum(one.events.get(kind, 0) for one in dry) for kind in counts} == counts
    assert sum(one.bytes for one in dry if one.partition == 0) > 1000


class Killed(Exception):
    """The process ends here."""


def test_interrupted_anywhere_it_goes_on_and_no_node_takes_half_of_it(
    old: Deployment, new: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "RECORDS_PER_PIECE", 20)
    write = Target.write
    refused = 0

    def dies(self: Target, told: Sequence[Any], source: str) -> None:
        """One transaction of this process is whole, the next one is under way."""
        nonlocal left
        left -= 1
        if left < 0:
            self._open().begin_transaction()
            for one, record in told[:5]:
                self._produce(one, record.timestamp_ms, b"%s/0/0" % source.encode())
            self._open().flush(PATIENCE_S)
            raise Killed
        write(self, told, source)

    monkeypatch.setattr(Target, "write", dies)
    for _ in range(20):
        left = 1
        try:
            replayed(old, new)
        except Killed:
            with pytest.raises(TopicsUnfit, match="run `rewindow replay` again"):
                new.prepare()
            refused += 1
        else:
            break
    assert refused >= 3
    new.prepare()
    is_the_same(old, new)


def test_run_again_it_tells_what_was_said_since(old: Deployment, new: Deployment) -> None:
    replayed(old, new)
    assert sum(sum(one.events.values()) for one in replayed(old, new)) == 0
    old.write(append(context="c-7"), append(context="new"))
    assert sum(sum(one.events.values()) for one in replayed(old, new, partitions=None)) == 2
    is_the_same(old, new)
    new.prepare()


def test_a_log_that_others_have_written_to_is_left_alone(
    old: Deployment, new: Deployment, tmp_path: Path
) -> None:
    new.prepare()
    new.write(append())
    with pytest.raises(CannotReplay, match=r"record 0 of partition \d of .* does not come from"):
        replayed(old, new)
    new.prepare()
    other = Deployment(old.settings.kafka, f"{old.settings.prefix}-other", tmp_path, partitions=3)
    replayed(old, other, partitions=3)
    third = Deployment(old.settings.kafka, f"{old.settings.prefix}-third", tmp_path).prepare()
    third.write(append())
    with pytest.raises(CannotReplay, match="does not come from this replay"):
        replayed(third, other, partitions=None)


def test_a_part_is_what_arrived_in_a_span_of_time(old: Deployment, new: Deployment) -> None:
    times = sorted(record.timestamp()[1] for record in said_in(old))
    begin, end = times[len(times) // 3], times[-1]
    done = replayed(old, new, from_ms=begin, until_ms=end)
    within = [m for m in said_in(old) if begin <= m.timestamp()[1] < end]
    assert sorted(map(told, said_in(new))) == sorted(map(told, within))
    assert len(log_of(new)) == len(within), "watermarks count seqs that are not there"
    assert sum(one.watermarks for one in done) >= 1
    # The same from a later beginning would be another replay.
    with pytest.raises(CannotReplay, match="does not come from this replay"):
        replayed(old, new, from_ms=begin + 1)
    with pytest.raises(CannotReplay, match="does not come from this replay"):
        replayed(old, new)


def test_without_its_first_events_a_log_is_told_when_it_is_said_from_when(
    old: Deployment, new: Deployment
) -> None:
    old.delete_before(old.topics.log, 3)
    with pytest.raises(CannotReplay, match=r"begins at event 3: .*; with --from, what is left"):
        replayed(old, new)
    assert partitions_of(new.kafka, new.topics.log) == 0
    done = replayed(old, new, from_ms=0)
    assert [one.first for one in done] == [3, 0]


def test_a_record_that_is_large_unpacked_goes_through(old: Deployment, new: Deployment) -> None:
    """It was small enough for the log when it was packed."""
    value = encode_event(append(context="large")) + b" " * (30 << 20)
    producer = old.packing()
    producer.produce(old.topics.log, value, b"large", partition_of("large", FROM))
    assert producer.flush(PATIENCE_S) == 0
    replayed(old, new)
    is_the_same(old, new)


@pytest.mark.parametrize(
    ("topic", "partitions", "says"),
    [
        ("other", None, r"other is no log's name: .*; say --to-topic other\.log"),
        (".log", None, r"\.log is no log's name"),
        ("{own}.log", None, r"is the log itself; say another one with --to-topic"),
        ("{own}.log", 3, r"has 2 partitions already; leave --partitions out"),
    ],
)
def test_what_can_not_be_is_said(
    old: Deployment, topic: str, partitions: int | None, says: str
) -> None:
    wanted = Wanted(topic.format(own=old.settings.prefix), partitions=partitions)
    with pytest.raises(CannotReplay, match=says):
        list(replay(old.settings, wanted))


def test_partitions_that_the_log_alone_was_given_do_not_count(
    old: Deployment, new: Deployment
) -> None:
    """Nodes refuse such a deployment; its contexts lie where they lay."""
    admin = AdminClient(old.kafka)
    before = state_of(old)
    grown = admin.create_partitions([NewPartitions(old.topics.log, 4)])
    grown[old.topics.log].result()
    with pytest.raises(TopicsUnfit, match="`rewindow replay`"):
        old.prepare()
    replayed(old, new)
    assert state_of(new) == before

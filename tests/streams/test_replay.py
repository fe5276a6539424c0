"""The log folded again gives what the log says, in any batching, and needs no node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import encodings
from streams import replay as replays
from streams.replay import Replay
from streams.scratch import Scratch
from streams.tables.source import Source
from tests.support.deployment import Deployment
from tests.support.fold import append, archived, compact, messages, tombstone


@pytest.fixture
def source(deployment: Deployment) -> Iterator[Source]:
    source = Source(deployment.kafka, deployment.topics.log)
    yield source
    source.close()


def test_it_comes_to_what_the_log_says(
    deployment: Deployment, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "RECORDS_PER_STORE", 7)
    deployment.write(*(append(*messages(n), context=f"c-{n % 3}") for n in range(20)))
    deployment.write_bytes((b"c-0", b"garbage"), (None, None))
    deployment.transact(deployment.transactional(), append(), commit=False)
    deployment.write(compact(context="c-1"), archived({"c-1": 5}), tombstone("c-2"))
    replay = Replay(source, Scratch(tmp_path, 0), encodings.measure)
    assert (replay.start, replay.digest().position) == (0, -1)
    end = source.bounds(0).end
    # The aborted one and its marker are no records.
    assert replay.fold_up_to(end) == end - 2
    assert replay.digest() == deployment.expected().digest
    assert replay.fold_up_to(end) == 0


def test_it_stops_where_it_is_told_and_goes_on(
    deployment: Deployment, source: Source, tmp_path: Path
) -> None:
    deployment.write(*(append(*messages(n)) for n in range(9)))
    replay = Replay(source, Scratch(tmp_path, 0), encodings.measure)
    assert replay.fold_up_to(4) == 4
    assert (replay.digest().position, replay.digest().contexts) == (3, 1)
    assert replay.fold_up_to(9) == 5
    assert replay.digest() == deployment.expected().digest


def test_a_log_whose_beginning_is_gone_can_not_be_proven(
    deployment: Deployment, source: Source, tmp_path: Path
) -> None:
    deployment.write(append(), append(), append())
    deployment.delete_before(deployment.topics.log, 2)
    replay = Replay(source, Scratch(tmp_path, 0), encodings.measure)
    assert replay.start == 2
    assert replay.fold_up_to(3) == 1

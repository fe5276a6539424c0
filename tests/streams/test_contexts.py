"""The port of the API: asked through a real log, answered from the tables as they stand now."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from schemas.limits import LOG_RECORD_BYTES_MAX
from streams.agents.watch import LagWatch
from streams.contexts import Archive, Contexts
from streams.core.outcome import Appended, Refused
from streams.live import Live
from streams.log_writer import LogWriter, partition_of
from streams.membership import Membership
from streams.owners import Owners
from streams.store import Health, Moved, Unavailable
from streams.tables.lane import Lane
from streams.tables.record import Record
from tests.support.deployment import Deployment
from tests.support.fold import append, archived, configure, last_n, message, messages, part, undo
from tests.support.gate import Gate
from tests.support.tables import Tables, tables_of
from tests.support.wait import until_async


class Node:
    """Contexts over tables of two partitions; events come in as they are written, and by the watch,
    which needs no Faust."""

    def __init__(self, tables: Tables, writer: LogWriter) -> None:
        self.tables = tables
        self.writer = writer
        self.owners = Owners("http://here")
        self.acknowledged_at = math.inf
        self._watch = LagWatch(tables.journal, tables.source, tables.agent)

    def contexts(self, archive: Archive | None = None, **changes: Any) -> Contexts:
        settings = self.tables.deployment.settings.model_copy(update=changes)
        return Contexts(
            settings,
            self.tables.journal,
            self.owners,
            self.tables.waiters,
            self.writer,
            archive,
            Live(),
            lambda: Health(()),
            Membership(6, lambda: self.acknowledged_at, lambda _seconds: False),
        )

    async def fold(self) -> None:
        """Fold again and again what the log holds."""
        while True:
            for lane in self.tables.journal.lanes.values():
                await self._watch._look(lane)


def nothing(records: Sequence[Record]) -> None:
    raise AssertionError(f"nothing was written, least of all {records}")


@pytest.fixture
async def node(kafka: str, prefix: str, tmp_path: Path) -> AsyncIterator[Node]:
    deployment = Deployment(kafka, prefix, tmp_path / "node", partitions=2).prepare()
    async with tables_of(deployment, tmp_path / "tables") as tables:
        writer = LogWriter(
            deployment.kafka, deployment.topics.log, timeout_s=10, on_written=tables.agent.written
        )
        await tables.own(0, 1)
        node = Node(tables, writer)
        folding = asyncio.create_task(node.fold())
        yield node
        folding.cancel()
        await asyncio.gather(folding, return_exceptions=True)
    await asyncio.to_thread(writer.close)


@pytest.fixture
def contexts(node: Node) -> Contexts:
    return node.contexts()


def said(rows: list[bytes]) -> list[tuple[int, str]]:
    decoded = [json.loads(row) for row in rows]
    return [(one["seq"], one["parts"][0]["text"]) for one in decoded]


async def test_what_is_asked_is_answered_and_can_be_read(contexts: Contexts) -> None:
    assert await contexts.head("c") is None
    assert await contexts.show("c", None) is None
    answered = await contexts.ask(append(message(part(text="one"), tokens=3), *messages(4)))
    assert answered.outcome == Appended(1, 2, 1, (3, 4))
    head = await contexts.head("c")
    assert head is not None
    assert head == answered.head
    assert said(await contexts.messages("c", 1, 1)) == [(1, "one")]
    shown = await contexts.show("c", None)
    assert shown is not None
    assert shown[0] == head
    assert len(shown[1].messages) == 2
    narrow = await contexts.show("c", 4)
    assert narrow is not None
    assert len(narrow[1].messages) == 1
    assert contexts.health() == Health(())


async def test_what_is_folded_is_answered_and_read_before_it_is_committed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts, gate = node.contexts(), Gate(monkeypatch, "produced")
    await contexts.ask(configure(policy=last_n(2)))
    await gate.reached()
    for n in range(3):
        await contexts.ask(append(message(part(text=f"{n}"))))
    lane = node.tables.journal.lanes[partition_of("c", 2)]
    assert lane.durable == 0
    assert list(lane.windows.rows_stored()) == []
    assert said(await contexts.messages("c", 1, 3)) == [(1, "0"), (2, "1"), (3, "2")]
    shown = await contexts.show("c", None)
    assert shown is not None
    assert (shown[0].version, len(shown[1].messages)) == (3, 3)
    assert [name for name, _ in await contexts.contexts("", None, 10)] == ["c"]
    gate.open()


async def test_two_requests_with_one_id_get_an_answer_each(contexts: Contexts) -> None:
    event, other = append(*messages(1), key="k"), append(*messages(2), key="k")
    answers = await asyncio.gather(*(contexts.ask(one) for one in (event, event, other)))
    first, again, refused = (answer.outcome for answer in answers)
    assert first == Appended(1, 1, 1, (1,))
    assert again == Appended(1, 1, 1, (1,), replayed=True)
    assert isinstance(refused, Refused)
    assert refused.code == "idempotency_key_reused"


async def test_a_request_that_is_not_answered_in_time_may_be_made_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = node.tables.journal.lanes[partition_of("c", 2)].turn
    async with turn:
        with pytest.raises(Unavailable) as late:
            await node.contexts(write_timeout_s=0.2).ask(append(*messages(1), key="k"))
        assert late.value.message == (
            "no answer within 0.2 s; the event may be written: ask again with the same "
            "Idempotency-Key"
        )
        again = asyncio.create_task(node.contexts().ask(append(*messages(1), key="k")))
        other = asyncio.create_task(node.contexts().ask(append(*messages(2), key="k")))
        await asyncio.sleep(0)
    assert (await again).outcome == Appended(1, 1, 1, (1,), replayed=True)
    assert isinstance((await other).outcome, Refused), "not the answer to the one that was late"


async def test_what_would_not_be_answered_in_time_is_not_written(node: Node) -> None:
    """A backlog is not made longer by those who ask again and again."""
    lane = node.tables.journal.lanes[partition_of("c", 2)]
    asked = node.contexts(write_timeout_s=0.2)
    async with lane.turn:
        with pytest.raises(Unavailable, match="the event may be written"):
            await asked.ask(append(*messages(1), key="k"))
        await until_async(lambda: behind(lane), "the watch has seen it")
        with pytest.raises(
            Unavailable, match=r"is \d s behind with its writes; nothing was written"
        ):
            await asked.ask(append(*messages(2), key="k2"))
    await until_async(lambda: behind(lane, False), "it is folded")
    assert lane.next == lane.end == node.tables.deployment.end(lane.partition)
    again = await node.contexts().ask(append(*messages(2), key="k2"))
    assert again.outcome == Appended(2, 2, 2, (2,))


async def behind(lane: Lane, is_it: bool = True) -> bool:
    return (lane.next < lane.end) is is_it


async def test_what_the_broker_does_not_take_is_told_and_forgotten(node: Node) -> None:
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    writer, node.writer = node.writer, LogWriter(nowhere, "log", timeout_s=0.2, on_written=nothing)
    with pytest.raises(Unavailable, match="the broker did not take the event"):
        await node.contexts().ask(append(*messages(1), key="k"))
    await asyncio.to_thread(node.writer.close)
    node.writer = writer
    large = append(message(part(text="x" * LOG_RECORD_BYTES_MAX)), key="k")
    with pytest.raises(Unavailable, match="the event could not be written"):
        await node.contexts().ask(large)
    answered = await node.contexts().ask(append(*messages(1), key="k"))
    assert answered.outcome == Appended(1, 1, 1, (1,))


# -- hot and archived ------------------------------------------------------------------------------


class Drawer:
    """An archive that holds some messages of every context, and remembers what it was asked."""

    def __init__(self, *seqs: int) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self._seqs = seqs

    async def bodies(self, context_id: str, runs: Sequence[range]) -> list[tuple[int, bytes]]:
        seqs = list(chain.from_iterable(runs))
        self.asked.append((context_id, seqs))
        return [
            (seq, b'{"seq":%d,"parts":[{"text":"archived"}]}' % seq)
            for seq in self._seqs
            if seq in seqs
        ]


@pytest.fixture
async def trimmed(node: Node) -> Node:
    """Six messages, of which the first four are in the archive alone."""
    contexts = node.contexts()
    await contexts.ask(configure(policy=last_n(1), budget=10))
    for n in range(1, 7):
        await contexts.ask(append(message(part(text=f"{n}"), tokens=9)))
    node.tables.deployment.write_event(archived({"c": 5}, tail_keep=2), partition_of("c", 2))
    await node.tables.folded(partition_of("c", 2))
    head = await contexts.head("c")
    assert head is not None
    assert (head.trimmed_seq, head.archived_seq) == (4, 5)
    return node


async def test_messages_come_from_the_tail_and_from_the_archive_as_one(trimmed: Node) -> None:
    drawer = Drawer(1, 2, 3, 4, 5)
    contexts = trimmed.contexts(drawer)
    assert said(await contexts.messages("c", 1, 6)) == [
        *((seq, "archived") for seq in range(1, 5)),
        (5, "5"),
        (6, "6"),
    ]
    assert said(await contexts.messages("c", 2, 3)) == [(2, "archived"), (3, "archived")]
    assert said(await contexts.messages("c", 5, 6)) == [(5, "5"), (6, "6")]
    assert drawer.asked == [("c", [1, 2, 3, 4]), ("c", [2, 3])], "never for what is hot"


async def test_the_tail_passes_over_what_was_undone_in_both_places(trimmed: Node) -> None:
    """Whether the archive knows of an undo makes no difference."""
    drawer = Drawer(1, 2, 3, 4, 5)
    contexts = trimmed.contexts(drawer)
    await contexts.ask(undo(6))
    await contexts.ask(append(message(part(text="7"))))
    assert said(await contexts.tail("c", 0, 2)) == [(5, "5"), (7, "7")]
    await contexts.ask(undo(3))
    for n in (8, 9):
        await contexts.ask(append(message(part(text=f"{n}"))))
    await contexts.ask(undo(9))
    drawer.asked.clear()
    assert said(await contexts.tail("c", 0, 1)) == [(8, "8")]
    assert drawer.asked == []
    everything = [(1, "archived"), (2, "archived"), (8, "8")]
    assert said(await contexts.tail("c", 0, 100)) == everything
    assert said(await contexts.tail("c", 1, 1)) == everything[1:2]
    assert await contexts.tail("c", 3, 5) == []
    assert drawer.asked == [("c", [1, 2]), ("c", [2])], "never for what is undone"
    assert [one[:2] for one in await contexts.undone("c", 1, 8)] == [(3, 7)]
    assert [one[:2] for one in await contexts.undone("c", 9, 9)] == [(9, 9)]
    assert len(await contexts.messages("c", 1, 9)) == 9


async def test_a_hole_is_an_error_of_ours_and_never_served(trimmed: Node) -> None:
    with pytest.raises(AssertionError, match="messages of 'c' are missing: 1 to 6"):
        await trimmed.contexts(Drawer(1, 2, 4)).messages("c", 1, 6)


async def test_without_an_archive_it_says_what_is_missing(trimmed: Node) -> None:
    with pytest.raises(Unavailable) as off:
        await trimmed.contexts().messages("c", 2, 6)
    assert off.value.message == (
        "messages 2 to 4 are in the archive, which is switched off; set REWINDOW_POSTGRES"
    )


# -- what is not here ------------------------------------------------------------------------------


async def test_a_partition_that_is_elsewhere_is_not_served(node: Node) -> None:
    await node.tables.own(partition_of("d", 2))
    away = next(name for name in "abc" if partition_of(name, 2) != partition_of("d", 2))
    contexts = node.contexts()
    assert await contexts.head("d") is None
    for asking in (
        contexts.head(away),
        contexts.show(away, None),
        contexts.messages(away, 1, 1),
        contexts.tail(away, 0, 1),
        contexts.undone(away, 1, 1),
        contexts.at_version(away, 1, 1),
        contexts.ask(append(context=away)),
    ):
        with pytest.raises(Moved, match="is not on this node now; ask again"):
            await asking

    node.owners.learn({"http://there": [partition_of(away, 2)]})
    assert (contexts.owner(away), contexts.owner("d")) == ("http://there", None)


async def test_nothing_is_served_that_may_be_somebody_elses_by_now(node: Node) -> None:
    contexts = node.contexts()
    await contexts.ask(append())
    following = contexts.follow("c", 0)
    await anext(following)
    assert contexts.census().here == {0, 1}
    node.acknowledged_at = -math.inf
    for asking in (
        contexts.head("c"),
        contexts.show("c", None),
        contexts.messages("c", 1, 1),
        contexts.tail("c", 0, 1),
        contexts.undone("c", 1, 1),
        contexts.at_version("c", 1, 1),
        contexts.contexts("", None, 10),
        contexts.ask(append()),
        anext(following),
    ):
        with pytest.raises(Moved, match="this node"):
            await asking
    with pytest.raises(Moved):
        contexts.follow("c", 0)
    assert contexts.census().here == frozenset()
    node.acknowledged_at = math.inf
    assert await contexts.head("c") is not None


async def test_what_was_asked_before_is_not_answered_either(node: Node) -> None:
    """The event is in the log; who is told of it may look where nobody has come to it yet."""
    contexts, event = node.contexts(), append(*messages(1))
    asked = asyncio.create_task(contexts.ask(event))
    await asyncio.sleep(0)
    node.acknowledged_at = -math.inf
    with pytest.raises(Moved, match="has not acknowledged this node for inf s; ask again"):
        await asked
    node.acknowledged_at = math.inf
    assert (await contexts.ask(event)).outcome == Appended(1, 1, 1, (1,), replayed=True)


async def test_a_partition_that_has_not_caught_up_is_not_served(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """It would show a past of the context, to somebody who may have seen more of it."""
    deployment = Deployment(kafka, prefix, tmp_path / "node", partitions=1).prepare()
    deployment.write(*(append() for _ in range(3)))
    async with tables_of(deployment, tmp_path / "tables") as tables:
        await tables.own(0)
        contexts = Node(tables, writer=None).contexts()  # type: ignore[arg-type]
        with pytest.raises(Moved) as behind:
            await contexts.head("c")
        assert behind.value.message == (
            "partition 0 is catching up with the log (event 0 of 3); ask again"
        )
        await tables.read_on()
        assert await contexts.head("c") is not None


async def test_a_version_can_be_waited_for(contexts: Contexts) -> None:
    waiting = asyncio.create_task(contexts.at_version("c", 2, 20))
    assert not await contexts.at_version("c", 1, 0.05)
    for _ in range(2):
        assert not waiting.done()
        await contexts.ask(append())
    assert await waiting
    assert await contexts.at_version("c", 1, 0)
    assert not await contexts.at_version("c", 3, 0.05)


async def test_a_list_of_contexts_is_one_over_all_partitions(contexts: Contexts) -> None:
    names = sorted(f"{prefix}-{n}" for prefix in ("a", "b") for n in range(9))
    await asyncio.gather(*(contexts.ask(append(context=name)) for name in names))
    assert [name for name, _ in await contexts.contexts("", None, 100)] == names
    assert [name for name, _ in await contexts.contexts("b-", "b-2", 3)] == ["b-3", "b-4", "b-5"]
    assert await contexts.contexts("c", None, 3) == []

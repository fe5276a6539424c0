"""Whatever a client does with its contexts, one thing after the other, a live node answers what the
pure core says.

The node keeps few messages hot, so that pages are joined out of both places. How far the archive is
at a moment makes no difference to what is read.
"""

import uuid
from collections.abc import Iterator
from operator import neg
from urllib.parse import quote

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct

from schemas.events import (
    ContextConfigured,
    ContextTombstoned,
    EventData,
    LogEvent,
    Message,
    MessageAppended,
    MessagesUndone,
    MetadataPatched,
    WindowCompacted,
)
from schemas.policy import Manual
from streams import encodings
from streams.core.rows import answer_key, hash_of
from streams.core.rows import answer_of as kept_answer_of
from tests.support import strategies
from tests.support.contexts import Json
from tests.support.fold import World, event
from tests.support.live_node import LiveNode, live_node
from tests.support.model import Answer, answer_of, read, written
from tests.support.wait import until

EXAMPLES = 15
STEPS = 40
TAIL_KEEP = 6
"""Messages that the node keeps hot in any case, and with them the answers to their appends."""

UNFORESEEN = ("created_at", "updated_at", "inserted_at", "archived_seq")
"""What depends on the broker's clock, or on how far the archive is."""

METHODS = {
    ContextConfigured: ("PUT", ""),
    ContextTombstoned: ("DELETE", ""),
    MessageAppended: ("POST", "messages"),
    MessagesUndone: ("POST", "undo"),
    MetadataPatched: ("PATCH", "metadata"),
    WindowCompacted: ("POST", "compact"),
}

if_versions = st.sampled_from((None, None, None, 0, 0, -1, 1))
"""None, or how far from the true version."""
several = st.lists(strategies.messages, min_size=1, max_size=8).map(tuple)
Beginning = tuple[ContextConfigured, tuple[Message, ...]]
beginnings: st.SearchStrategy[Beginning] = st.tuples(strategies.configured, several)
few = st.lists(strategies.messages, max_size=3).map(tuple)
settings_or_metadata = strategies.configured | st.builds(MetadataPatched, strategies.metadata)
backs = st.integers(-1, 12) | st.integers(-1, 2)
"""How many messages lie before the newest, from the one on that is undone."""
sizes = st.integers(1, 12)
seqs = st.integers(1, 30)
looks: st.SearchStrategy[tuple[str, dict[str, int]]] = st.one_of(
    st.tuples(st.just("context"), st.fixed_dictionaries({"budget_tokens": strategies.budgets})),
    st.tuples(
        st.just("tail"), st.fixed_dictionaries({"limit": sizes, "offset": seqs | st.just(0)})
    ),
    st.tuples(st.just("messages"), st.fixed_dictionaries({"limit": sizes, "from_seq": seqs})),
    st.tuples(st.just("messages"), st.fixed_dictionaries({"from_seq": seqs.map(neg)})),
    st.tuples(st.just("messages"), st.fixed_dictionaries({"limit": sizes, "before_seq": seqs})),
)


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("model")
    with live_node(folder, kafka, postgres_url, tail_keep=str(TAIL_KEEP)) as node:
        yield node


class Write(Struct):
    """A write as it is sent, and what it comes to in the log. `single`: one message, not a list."""

    event: LogEvent
    single: bool

    def body(self) -> bytes:
        """As a client writes it."""
        match self.event.data:
            case ContextTombstoned():
                return b""
            case MessageAppended(messages=(message,), if_version=if_version) if self.single:
                return _json({"message": message, "if_version": if_version})
            case MessageAppended(messages=messages, if_version=if_version):
                return _json({"messages": messages, "if_version": if_version})
            case data:
                return _json(data)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


class Conversations(RuleBasedStateMachine):
    """Two contexts, on a node and in a world of dictionaries. `last`: the one that was spoken of
    last."""

    names = Bundle("names")
    writes = Bundle("writes")

    def __init__(self, url: str) -> None:
        super().__init__()
        # Certificates that nobody asks for take long to load.
        self.client = httpx.Client(base_url=url, timeout=30, verify=False)
        self.world = World(encodings.measure)
        self.run = uuid.uuid4().hex
        self.last = ""

    def teardown(self) -> None:
        self.client.close()

    # -- writing --------------------------------------------------------------------------------

    @initialize(target=names, one=beginnings, other=beginnings)
    def begin(self, one: Beginning, other: Beginning) -> MultipleResults[str]:
        names = (f"{self.run} one", f"{self.run} other ü?%")
        for name, (data, messages) in zip(names, (one, other), strict=True):
            self._send(name, data)
            self._send(name, MessageAppended(messages, create=False))
        return multiple(*names)

    @rule(target=writes, name=names, message=strategies.messages, off=if_versions)
    def say(self, name: str, message: Message, off: int | None) -> Write:
        return self._send(name, MessageAppended((message,), self._version(name, off), False), True)

    @rule(target=writes, name=names, messages=several, off=if_versions)
    def say_several(self, name: str, messages: tuple[Message, ...], off: int | None) -> Write:
        return self._send(name, MessageAppended(messages, self._version(name, off), False))

    @rule(target=writes, name=names, replacement=few, off=if_versions)
    def compact(self, name: str, replacement: tuple[Message, ...], off: int | None) -> Write:
        return self._send(name, WindowCompacted(replacement, self._version(name, off)))

    @rule(target=writes, name=names, back=backs, off=if_versions)
    def undo(self, name: str, back: int, off: int | None) -> Write:
        from_seq = max(1, self.world.heads[name].last_seq - back)
        return self._send(name, MessagesUndone(from_seq, self._version(name, off)))

    @rule(target=writes, name=names, data=settings_or_metadata)
    def change(self, name: str, data: EventData) -> Write:
        return self._send(name, data)

    @rule(target=writes, name=names, really=st.sampled_from((False, False, False, True)))
    def delete(self, name: str, really: bool) -> MultipleResults[Write]:
        return multiple(self._send(name, ContextTombstoned())) if really else multiple()

    @rule(write=writes)
    def ask_again(self, write: Write) -> None:
        if self._is_kept(write):
            self._exchange(write)

    @rule(write=writes, message=strategies.messages)
    def use_the_key_again(self, write: Write, message: Message) -> None:
        if self._is_kept(write):
            data = MessageAppended((message,), create=False)
            self._exchange(Write(event(data, write.event.subject, write.event.id), True))

    # -- reading --------------------------------------------------------------------------------

    @rule(name=names, look=looks)
    def look(self, name: str, look: tuple[str, dict[str, int]]) -> None:
        noun, query = look
        self._look(name, noun, **query)

    @rule(name=names)
    def let_the_archive_catch_up(self, name: str) -> None:
        """What is archived and not in the window leaves the hot tail."""
        last_seq = self.world.heads[name].last_seq
        if last_seq > TAIL_KEEP:
            until(lambda: self._archived_seq(name) == last_seq, "all is archived")

    @invariant()
    def the_node_knows_what_the_world_knows(self) -> None:
        if not self.last:
            return  # It has not begun.
        self._look(self.last, "")
        window = self._look(self.last, "context").body
        replay = self._look(self.last, "messages", limit=1000).body
        head = self.world.heads[self.last]
        assert window is not None
        assert replay is not None
        seqs = [message["seq"] for message in replay["messages"]]
        assert seqs == list(range(1, head.last_seq + 1))
        used, shown = window["used_tokens"], window["messages"]
        assert used == sum(message["token_count"] for message in shown)
        if not isinstance(head.policy, Manual):
            assert (used <= head.token_budget) != (window.get("over_budget") and len(shown) == 1)

    # -- both sides -----------------------------------------------------------------------------

    def _version(self, name: str, off: int | None) -> int | None:
        return None if off is None else max(0, off + self.world.heads[name].version)

    def _is_kept(self, write: Write) -> bool:
        """Whether the node has to know the answer still, where there was one."""
        name = write.event.subject
        row = self.world.get(answer_key(name.encode(), hash_of(write.event.id.encode())))
        if row is None:
            return True
        kept = kept_answer_of(row)
        last_seq = kept.first_seq + len(kept.token_counts) - 1
        return last_seq > self.world.heads[name].last_seq - TAIL_KEEP

    def _archived_seq(self, name: str) -> int:
        return int(self.client.get(_path(name, "")).json()["archived_seq"])

    def _send(self, name: str, data: EventData, single: bool = False) -> Write:
        write = Write(event(data, name), single)
        self._exchange(write)
        return write

    def _exchange(self, write: Write) -> None:
        self.last = name = write.event.subject
        method, noun = METHODS[type(write.event.data)]
        answer = answer_of(
            self.client.request(
                method,
                _path(name, noun),
                content=write.body(),
                headers={"Idempotency-Key": write.event.id},
            )
        )
        (folded,) = self.world.fold(write.event)
        note(f"{method} {noun} {write.body().decode()} -> {answer}")
        assert _foreseen(answer) == _foreseen(written(folded, single=write.single))

    def _look(self, name: str, noun: str, **query: int) -> Answer:
        self.last = name
        answer = answer_of(self.client.get(_path(name, noun), params=query))
        assert _foreseen(answer) == _foreseen(read(self.world, name, noun, **query)), query
        return answer


def _path(name: str, noun: str) -> str:
    path = f"/v1/contexts/{quote(name)}"
    return f"{path}/{noun}" if noun else path


def _foreseen(answer: Answer) -> Answer:
    """What the world can know of an answer."""
    if answer.body is None:
        return answer
    body = _without_unforeseen(answer.body)
    if "messages" in body:
        body["messages"] = [_without_unforeseen(message) for message in body["messages"]]
    return answer._replace(body=body)


def _without_unforeseen(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if name not in UNFORESEEN}


def test_a_live_node_answers_what_the_core_says(node: LiveNode) -> None:
    run_state_machine_as_test(
        lambda: Conversations(node.url),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )

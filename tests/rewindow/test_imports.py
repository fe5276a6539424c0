"""Files become contexts on a live node: each message once, and whatever is wrong is said."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Raw

from formats.conversations import Incoming, conversation_back
from rewindow import imports
from rewindow.client import Away, Client
from rewindow.imports import Import, Imported, Wanted, batches
from schemas.limits import REQUEST_BYTES_MAX
from streams.progress import Progress, unwatched
from tests.support.contexts import Context
from tests.support.doors import replayed
from tests.support.live_node import LiveNode, live_node
from tests.support.transcripts import SAMPLES

Json = dict[str, Any]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("imports"), kafka, None, partitions="2") as node:
        yield node


@pytest.fixture
def client(node: LiveNode) -> Client:
    return Client(node.url)


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """A file of these lines."""

    def write(*lines: Any, name: str = "talk.jsonl") -> Path:
        path = tmp_path / name
        texts = (one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)
        path.write_bytes(b"\n".join(texts) + b"\n")
        return path

    return write


def chat(number: int, role: str = "user") -> Json:
    return {"role": role, "content": f"message {number}"}


def done(wanted: Wanted, client: Client | None) -> list[Any]:
    return list(Import(wanted, client, unwatched).run())


async def messages(node: LiveNode, context: str) -> list[bytes]:
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as client:
        return await replayed(client, context)


# -- once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
async def test_every_sample_is_imported_once_and_comes_back(
    node: LiveNode, client: Client, data_dir: Path, name: str
) -> None:
    wanted = Wanted(data_dir / name, prefix=f"{name} ")
    first, again = done(wanted, client), done(wanted, client)
    assert all(isinstance(one, Imported) for one in first)
    assert len(first) == SAMPLES[name].contexts
    assert sum(one.appended for one in first) == SAMPLES[name].messages
    assert again == [Imported(one.context, 0, one.appended) for one in first]
    for one in first[:20]:
        bodies = await messages(node, one.context)
        assert len(bodies) == one.appended
        assert conversation_back(bodies)


async def test_ui_messages_come_back_unchanged(
    node: LiveNode, client: Client, data_dir: Path
) -> None:
    file = data_dir / "aisdk-uimessages.json"
    imported = done(Wanted(file, prefix="ui ", token_budget=1_000_000), client)
    chats = json.loads(file.read_bytes())
    async with httpx.AsyncClient(base_url=node.url, timeout=60) as http:
        for one, chat in zip(imported, chats, strict=True):
            window = await Context(http, one.context).window(format="ai-sdk")
            assert window["messages"] == chat["messages"]
            stored = (await Context(http, one.context).window())["messages"]
            assert [(m["id"], m["parts"]) for m in stored] == [
                (m["id"], m["parts"]) for m in chat["messages"]
            ]


async def test_what_was_cut_off_in_the_middle_goes_on(
    node: LiveNode, client: Client, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(file(*map(chat, range(250))), context="cut off")
    calls = 0
    append_body = Client.append_body

    def cut(self: Client, context_id: str, body: bytes, key: str | None) -> Any:
        """The second batch is written, and nobody hears of it."""
        nonlocal calls
        calls += 1
        answer = append_body(self, context_id, body, key)
        if calls == 2:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Client, "append_body", cut)
    with pytest.raises(KeyboardInterrupt):
        done(wanted, client)
    assert done(wanted, client) == [Imported("cut off", 50, 200)]
    said = [json.loads(body)["parts"][0]["text"] for body in await messages(node, "cut off")]
    assert said == [f"message {n}" for n in range(250)]


async def test_an_answer_that_gets_lost_is_asked_for_again(
    node: LiveNode, client: Client, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PAUSE_S", 0.01)
    keys: list[str | None] = []
    append_body = Client.append_body

    def lossy(self: Client, context_id: str, body: bytes, key: str | None) -> Any:
        keys.append(key)
        answer = append_body(self, context_id, body, key)
        if len(keys) == 1:
            raise Away("the line was cut")
        return answer

    monkeypatch.setattr(Client, "append_body", lossy)
    assert done(Wanted(file(chat(1), chat(2)), context="lossy"), client) == [Imported("lossy", 2)]
    assert keys[0] == keys[1]
    assert len(await messages(node, "lossy")) == 2


async def test_what_was_said_since_does_not_matter(
    node: LiveNode, client: Client, file: Callable[..., Path]
) -> None:
    wanted = Wanted(file(chat(1), chat(2)), context="goes on")
    done(wanted, client)
    client.append("goes on", [{"role": "user", "parts": [{"type": "text", "text": "more"}]}], None)
    assert done(wanted, client) == [Imported("goes on", 0, 2)]
    assert len(await messages(node, "goes on")) == 3


def test_a_file_that_grew_is_imported_to_its_end(client: Client, file: Callable[..., Path]) -> None:
    done(Wanted(file(*map(chat, range(100))), context="grew"), client)
    grown = Wanted(file(*map(chat, range(130))), context="grew")
    assert done(grown, client) == [Imported("grew", 30, 100)]


def test_other_messages_in_the_context_are_not_written_over(
    client: Client, file: Callable[..., Path]
) -> None:
    done(Wanted(file(chat(1), chat(2)), context="taken"), client)
    (skipped, imported) = done(Wanted(file(chat(1), chat(3)), context="taken"), client)
    assert "holds other messages than the file" in skipped.reason
    assert imported == Imported("taken")


def test_a_context_that_was_closed_does_not_stop_the_others(
    node: LiveNode, client: Client, file: Callable[..., Path]
) -> None:
    lines = [{"id": name, "messages": [chat(1)]} for name in ("x", "y")]
    client.put("closed x", {})
    httpx.delete(f"{node.url}/v1/contexts/closed%20x").raise_for_status()
    skipped, closed, other = done(Wanted(file(*lines), prefix="closed "), client)
    assert "was deleted" in skipped.reason
    assert (closed, other) == (Imported("closed x"), Imported("closed y", 1))


async def test_a_context_that_is_there_keeps_its_settings(
    node: LiveNode, client: Client, file: Callable[..., Path]
) -> None:
    client.put("ours", {"token_budget": 77, "metadata": {"a": 1}})
    done(Wanted(file(chat(1)), context="ours", token_budget=5), client)
    done(Wanted(file(chat(1)), context="new", token_budget=55), client)
    ours, new = client.get("ours"), client.get("new")
    assert (ours["token_budget"], ours["metadata"]) == (77, {"a": 1})
    assert new["token_budget"] == 55
    source = {"format": "openai-chat", "file": "talk.jsonl", "id": None}
    assert new["metadata"] == {"source": source}


def test_what_is_nested_too_deeply_is_skipped_before_a_node_refuses_it(
    client: Client, file: Callable[..., Path]
) -> None:
    depths = range(100, 135)
    lines = [b'{"role":"user","content":"","x":%b}' % (b"[" * n + b"]" * n) for n in depths]
    *skipped, imported = done(Wanted(file(*lines), context="deep"), client)
    assert skipped
    assert all(one.where.startswith("line") and "nested" in one.reason for one in skipped)
    assert imported.appended == len(lines) - len(skipped) > 0


# -- names -----------------------------------------------------------------------------------------


def named(file: Path, **wanted: Any) -> list[str]:
    return [one.context for one in done(Wanted(file, **wanted), None)]


def test_names_are_the_same_for_the_same_file(file: Callable[..., Path]) -> None:
    said = [chat(1)]
    several = file({"id": "a/b", "messages": said}, {"messages": said}, {"id": 7, "messages": said})
    assert named(several) == ["talk:a_b", "talk:2", "talk:7"]
    assert named(several, prefix="p ") == ["p a_b", "p 2", "p 7"]
    twice = file({"id": "a", "messages": said}, {"id": "a", "messages": said})
    assert named(twice) == ["talk:a", "talk:a~2"]
    assert named(file({"messages": said})) == ["talk"]
    assert named(file(chat(1), chat(2))) == ["talk"]
    assert named(file(chat(1)), context="mine") == ["mine"]


# -- what is told ----------------------------------------------------------------------------------


def test_how_far_it_is_goes_by_bytes(file: Callable[..., Path]) -> None:
    path = file(*map(chat, range(10)))
    told: list[Progress] = []
    list(Import(Wanted(path), None, told.append).run())
    size = path.stat().st_size
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert told[-1] == Progress(0, size, size)


def test_a_batch_fits_into_a_request() -> None:
    body = json.dumps({"role": "user", "parts": ["x" * 1_000_000]}).encode()
    large = [Incoming("here", Raw(body)) for _ in range(9)]
    found = list(batches(large))
    assert [batch.first for batch in found] == [1, 5, 9]
    assert all(sum(len(bytes(b)) for b in one.bodies) < REQUEST_BYTES_MAX for one in found)
    small = [Incoming("here", Raw(b"{}")) for _ in range(250)]
    assert [len(batch.bodies) for batch in batches(small)] == [100, 100, 50]

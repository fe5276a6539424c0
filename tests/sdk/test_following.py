"""Following a context through both doors: nothing is missed, nothing is told twice."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from rewindow_client import (
    CompactionFrame,
    ContextFrame,
    Frame,
    MessageFrame,
    NoAnswer,
    NotFound,
    NotRewindow,
    OtherVersion,
    Range,
    ResetFrame,
    TombstonedFrame,
    UndoneFrame,
    text,
)
from rewindow_client.events import Event
from rewindow_client.exchange import Asking
from rewindow_client.following import Following
from tests.sdk.doors import Door, listed, opened
from tests.sdk.faulty import STATE_JSON, Canned, Cutting, http, listening
from tests.support.live_node import LiveNode, live_node
from tests.support.wait import until_async

PATIENCE_S = 60
STATE = http("200 OK", STATE_JSON)


async def told_until(frames: AsyncIterator[Frame], version: int) -> list[Frame]:
    """What is told until the window's state at a version is."""
    told = []
    async with asyncio.timeout(PATIENCE_S), aclosing(frames):
        async for frame in frames:
            told.append(frame)
            if isinstance(frame, ContextFrame) and frame.version >= version:
                return told
    raise AssertionError(f"it ended after {told}")


def said(frames: list[Frame]) -> list[str]:
    return [frame.message.text for frame in frames if isinstance(frame, MessageFrame)]


async def test_everything_from_the_beginning_and_what_comes_then(context: Door) -> None:
    await context.append(text("user", "One"), text("user", "Two"))
    frames = context.follow(0)
    first = await told_until_open(frames, 1)
    assert said(first) == ["One", "Two"]
    await context.append(text("user", "Three"))
    await context.undo(2)
    await context.compact([text("system", "One was said.")])
    await context.delete()
    rest = [frame async for frame in frames]
    assert said(rest) == ["Three"]
    kinds = [type(frame) for frame in rest if not isinstance(frame, ContextFrame)]
    assert kinds == [MessageFrame, UndoneFrame, CompactionFrame, TombstonedFrame]
    (undone,) = (frame for frame in rest if isinstance(frame, UndoneFrame))
    assert undone.range == Range(2, 3)


async def told_until_open(frames: AsyncIterator[Frame], version: int) -> list[Frame]:
    """As `told_until`, and the iterator may be asked again."""
    told = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            frame = await anext(frames)
            told.append(frame)
            if isinstance(frame, ContextFrame) and frame.version >= version:
                return told


async def test_from_now_on_means_from_now_on(context: Door) -> None:
    await context.append(text("user", "One"))
    frames = context.follow()
    coming = asyncio.ensure_future(anext(frames))
    # Whatever was said before the stream was there is told, or not: so say something until it is.
    number = 1
    while not coming.done():
        number += 1
        await context.append(text("user", f"No. {number}"))
        await asyncio.wait({coming}, timeout=0.1)
    frame = coming.result()
    assert isinstance(frame, MessageFrame)
    assert frame.message.text != "One"
    await frames.aclose()


async def test_what_becomes_of_the_window_alone(context: Door) -> None:
    await context.append(text("user", "One"))
    frames = await told_until(context.follow(0, messages=False), 1)
    assert [type(frame) for frame in frames] == [ContextFrame]


async def test_nobody_follows_what_is_not_there(client: Door) -> None:
    with pytest.raises(NotFound, match="PUT it first"):
        await anext(client.context("nobody made this").follow(0))


async def test_what_is_no_longer_hot_is_read_from_the_history(context: Door) -> None:
    """The tail of this node holds five messages, and the window of this context one."""
    await context.configure(policy={"strategy": "last_n", "config": {"limit": 1}}, token_budget=10)
    everything = [f"message {number}" for number in range(40)]
    for one in everything:
        await context.append(text("user", one))
    await context.undo(38)

    async def trimmed() -> bool:
        # A watermark trims as it comes; the last of them comes after the last message.
        return bool((await context.state()).archived_seq == 40)

    await until_async(trimmed)
    frames = await told_until(context.follow(0), 41)
    assert said(frames) == everything
    seqs = [frame.seq for frame in frames if isinstance(frame, MessageFrame)]
    assert seqs == list(range(1, 41))
    assert [frame.range for frame in frames if isinstance(frame, UndoneFrame)] == [Range(38, 40)]
    later = await told_until(context.follow(17), 41)
    assert said(later) == everything[17:], "where only a version is known, its seq is looked for"


@pytest.mark.parametrize("seed", range(2))
async def test_a_line_that_is_cut_again_and_again_tells_everything_once(
    kind: str, node: LiveNode, context: Door, name: str, seed: int
) -> None:
    cutting = Cutting(node.url, seed, one_in=8)
    sent = [[f"{batch}.{number}" for number in range(3)] for batch in range(20)]

    async def speak() -> None:
        for batch in sent:
            await context.append(*(text("user", one) for one in batch))

    async with listening(cutting.serve) as url, opened(kind, url) as follower:
        speaking = asyncio.ensure_future(speak())
        frames = await told_until(follower.context(name).follow(0), len(sent))
        await speaking
    assert cutting.cuts > 0
    assert said(frames) == [one for batch in sent for one in batch]
    versions = [frame.version for frame in frames]
    assert versions == sorted(versions)


def test_a_line_is_taken_up_where_it_was() -> None:
    """Not from the beginning: what is told again would be passed over, and cost its way."""
    following = Following(Asking("http://node", 30.0), "demo", 3, messages=True)
    state = b'{"type":"context","version":%d,"used_tokens":1,"needs_compaction":false}'
    following.take(Event(None, state % 7))
    assert following.stream() == ("/v1/contexts/demo/events", {"cursor": "3"})
    following.take(Event(8, state % 8))
    assert following.stream() == ("/v1/contexts/demo/events", {"cursor": "8"})


async def test_a_context_that_was_made_anew_is_told_from_its_beginning(context: Door) -> None:
    await context.append(text("user", "One"))
    frames = await told_until(context.follow(99), 1)
    assert [type(frame) for frame in frames] == [ResetFrame, MessageFrame, ContextFrame]


async def test_whoever_asks_in_vain_is_told_so(kind: str) -> None:
    async with opened(kind, "http://127.0.0.1:1", timeout=0.3) as client:
        with pytest.raises(NoAnswer, match="no connection"):
            await anext(client.context("demo").follow(0))


async def test_a_follower_outlives_the_node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str
) -> None:
    with live_node(tmp_path_factory.mktemp("restart"), kafka, None) as node:
        async with opened("async", node.url, timeout=60) as client:
            context = client.context("demo")
            await context.configure()
            await context.append(text("user", "One"))
            frames = context.follow(0)
            assert said(await told_until_open(frames, 1)) == ["One"]
            coming = asyncio.ensure_future(told_until_open(frames, 2))
            await asyncio.to_thread(node.end, signal.SIGKILL)
            await asyncio.to_thread(node.begin)
            await context.append(text("user", "Two"))
            assert said(await coming) == ["Two"]
            await frames.aclose()


async def test_a_stream_that_is_none(kind: str) -> None:
    async with (
        listening(Canned(STATE, http("200 OK", b"<html>", "Content-Type: text/html")).serve) as url,
        opened(kind, url) as client,
    ):
        with pytest.raises(NotRewindow, match="no node of Rewindow"):
            await anext(client.context("demo").follow(0))


async def test_frames_of_another_version(kind: str) -> None:
    def stream(*data: bytes) -> bytes:
        events = b"".join(b"id: 1\ndata: %b\n\n" % one for one in data)
        return http("200 OK", events, "Content-Type: text/event-stream; charset=utf-8")

    known = b'{"type":"context","version":1,"used_tokens":2,"needs_compaction":true,"new":3}'
    unheard = b'{"type":"never heard of","version":1}'
    async with (
        listening(Canned(STATE, stream(unheard, known)).serve) as url,
        opened(kind, url) as client,
    ):
        assert await anext(client.context("demo").follow(0)) == ContextFrame(1, 2, True)
    async with (
        listening(Canned(STATE, stream(b'{"type":"context"}')).serve) as url,
        opened(kind, url) as client,
    ):
        with pytest.raises(OtherVersion, match="client of the server's version"):
            await listed(client.context("demo").follow(0))

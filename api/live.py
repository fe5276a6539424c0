"""Live streams on the wire: news as frames, with a ping at regular times."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final, assert_never

import msgspec
from msgspec import Struct

from api.problems import Problem
from streams.live import TooSlow
from streams.news import Ended, Gap, News, Replaced, Reset, Said, State, Undid
from streams.store import Unavailable

DONE: Final = 1000
COME_BACK: Final = 1012
"""Close codes of websockets; 1012 is "service restart"."""

PING: Final = b'{"type":"ping"}'

_json = msgspec.json.Encoder()


class LiveRules(Struct, frozen=True):
    """`connections_max` of one node; seconds between two pings, without a word from the client of a
    websocket, and for a reader to take what is sent, before it is closed."""

    connections_max: int = 512
    ping_s: float = 30.0
    idle_s: float = 90.0
    take_s: float = 10.0


LIVE_DEFAULTS: Final = LiveRules()


class Frame(Struct, frozen=True):
    """`json` as it goes out. `cursor`: the version to come back with once this frame has arrived,
    None where it moves nothing."""

    json: bytes
    cursor: int | None = None


PING_FRAME: Final = Frame(PING)


class Connections:
    """How many streams are open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0

    def take(self) -> None:
        """One more. Raises `Problem` where there are too many."""
        if self.open >= self._most:
            raise Problem(
                "rate_limited",
                f"{self._most} live streams are open on this node, and no more are taken; come "
                "back later",
                retry_after=5,
            )
        self.open += 1

    def give_back(self) -> None:
        """One less."""
        self.open -= 1


def why_it_ended(exc: Exception) -> str:
    """The sentence for a stream that ended before its context did. Raises what nobody foresaw."""
    match exc:
        case TooSlow():
            return str(exc)
        case Unavailable():
            return exc.message
        case _:
            raise exc


async def frames(
    news: AsyncGenerator[News, None], *, messages: bool, ping_s: float
) -> AsyncGenerator[Frame, None]:
    """News as frames, and a ping every `ping_s` seconds however much there is to tell."""
    loop = asyncio.get_running_loop()
    ping_at = loop.time() + ping_s
    coming = asyncio.ensure_future(anext(news))
    try:
        while True:
            await asyncio.wait({coming}, timeout=max(0.0, ping_at - loop.time()))
            if loop.time() >= ping_at:
                ping_at += ping_s
                yield PING_FRAME
            if coming.done():
                try:
                    one = coming.result()
                except StopAsyncIteration:
                    return
                if messages or not isinstance(one, Said):
                    yield frame_of(one)
                coming = asyncio.ensure_future(anext(news))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await news.aclose()


def frame_of(news: News) -> Frame:
    """The JSON of one piece of news."""
    match news:
        case Said(version=version, seq=seq, message=message, last=last):
            # The message's bytes go in as they are.
            json = b'{"type":"message","version":%d,"seq":%d,"message":%b}' % (
                version,
                seq,
                message,
            )
            return Frame(json, version if last else None)
        case Replaced(version=version, from_seq=first, to_seq=last_seq):
            seqs = {"from_seq": first, "to_seq": last_seq}
            return _frame("compaction", cursor=version, version=version, range=seqs)
        case Undid(version=version, from_seq=first, to_seq=last_seq):
            seqs = {"from_seq": first, "to_seq": last_seq}
            return _frame("undone", cursor=version, version=version, range=seqs)
        case State(version=version, used_tokens=used, needs_compaction=needs):
            state = {"used_tokens": used, "needs_compaction": needs}
            return _frame("context", cursor=version, version=version, **state)
        case Ended(version=version):
            return _frame("tombstoned", cursor=version, version=version)
        case Gap(expected=expected, actual=actual):
            return _frame("gap", cursor=None, expected=expected, actual=actual)
        case Reset(version=version):
            return _frame("reset", cursor=version, version=version)
        case _:
            assert_never(news)


def _frame(kind: str, *, cursor: int | None, **fields: object) -> Frame:
    return Frame(_json.encode({"type": kind, **fields}), cursor)

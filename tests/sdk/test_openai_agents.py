"""A session of the OpenAI Agents SDK on a live node, under the SDK's own runner."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, SQLiteSession, function_tool
from agents.memory import Session, SessionSettings
from agents.run_internal.session_persistence import rewind_session_items
from openai import BadRequestError

from rewindow_client import AsyncRewindow, text
from rewindow_client.openai_agents import RewindowSession
from tests.sdk.fake_model import FakeModel, calls, says, thinks
from tests.sdk.test_openai_items import ITEMS
from tests.support.live_node import LiveNode

ROOMY = {"token_budget": 1_000_000, "policy": {"strategy": "manual"}}
QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture
async def rewindow(node: LiveNode) -> AsyncIterator[AsyncRewindow]:
    async with AsyncRewindow(node.url) as client:
        yield client


@pytest.fixture
def session(rewindow: AsyncRewindow, name: str) -> RewindowSession:
    return RewindowSession(name, rewindow, **ROOMY)


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


def words(items: Any) -> list[Any]:
    """What was said, called and answered, in short."""
    found = []
    for item in items:
        content = item.get("content")
        if isinstance(content, list) and content:
            found.append(content[0]["text"])
        else:
            found.append(content or item.get("arguments") or item.get("output") or item["type"])
    return found


def test_it_is_a_session(session: RewindowSession) -> None:
    assert isinstance(session, Session)


async def test_items_come_back_in_order_as_they_were(session: RewindowSession) -> None:
    items: Any = list(ITEMS.values())
    assert await session.get_items() == []
    await session.add_items(items)
    assert json.dumps(await session.get_items(), sort_keys=True) == json.dumps(
        items, sort_keys=True
    )
    assert await session.get_items(limit=3) == items[-3:]
    assert await session.get_items(limit=0) == []
    assert await session.get_items(limit=99) == items
    assert (await session.context.state()).version == 1, "all or nothing"
    session.session_settings = SessionSettings(limit=2)
    assert await session.get_items() == items[-2:]


async def test_items_are_popped_one_by_one_and_cleared(session: RewindowSession) -> None:
    items: Any = [{"role": "user", "content": str(number)} for number in range(4)]
    await session.add_items(items)
    assert await session.pop_item() == items[3]
    assert await session.pop_item() == items[2]
    await session.add_items([{"role": "user", "content": "again"}])
    assert words(await session.get_items()) == ["0", "1", "again"]
    await session.clear_session()
    assert await session.get_items() == []
    assert await session.pop_item() is None
    history = [message.text async for message in session.context.replay()]
    assert history == ["0", "1", "2", "3", "again"]


async def test_of_two_that_pop_each_gets_another_item(
    session: RewindowSession, rewindow: AsyncRewindow, name: str
) -> None:
    other = RewindowSession(name, rewindow)
    items: Any = [{"role": "user", "content": str(number)} for number in range(20)]
    await session.add_items(items)
    popped = await asyncio.gather(*(one.pop_item() for one in [session, other] * 10))
    assert sorted(words(popped), key=int) == words(items)
    assert await session.get_items() == []


async def test_more_than_a_request_takes_goes_in_in_order(session: RewindowSession) -> None:
    items: Any = [{"role": "user", "content": f"{n} {'x' * 40_000}"} for n in range(120)]
    await session.add_items(items)
    assert await session.get_items() == items


async def test_a_conversation_of_several_turns(session: RewindowSession) -> None:
    model = FakeModel([says("On Monday.")], [says("At noon.")])
    agent = Agent("clerk", model=model)
    await Runner.run(agent, "When does it come?", session=session, run_config=QUIET)
    result = await Runner.run(agent, "At what time?", session=session, run_config=QUIET)
    assert result.final_output == "At noon."
    assert words(model.heard[1]) == ["When does it come?", "On Monday.", "At what time?"]
    stored = await session.get_items()
    assert words(stored) == [*words(model.heard[1]), "At noon."]


async def test_a_streamed_turn(session: RewindowSession) -> None:
    agent = Agent("clerk", model=FakeModel([says("On Monday.")]))
    result = Runner.run_streamed(agent, "When?", session=session, run_config=QUIET)
    async for _event in result.stream_events():
        pass
    assert words(await session.get_items()) == ["When?", "On Monday."]


async def test_tools_and_reasoning_are_as_any_other_session_has_them(
    session: RewindowSession,
) -> None:
    def model() -> FakeModel:
        return FakeModel(
            [
                thinks("Two cities."),
                calls("weather", "a", city="Köln"),
                calls("weather", "b", city="Ulm"),
            ],
            [says("Rain, everywhere.")],
            [says("Tomorrow as well.")],
        )

    heard = []
    for one in (session, SQLiteSession("beside")):
        agent = Agent("meteorologist", model=model(), tools=[weather])
        await Runner.run(agent, "The weather?", session=one, run_config=QUIET)
        await Runner.run(agent, "And tomorrow?", session=one, run_config=QUIET)
        heard.append((agent.model.heard, await one.get_items()))
    assert heard[0] == heard[1]


async def test_a_handoff(session: RewindowSession) -> None:
    expert = Agent("expert", model=FakeModel([says("It is lost.")], [says("Sorry.")]))
    model = FakeModel([calls("transfer_to_expert", "h")])
    clerk = Agent("clerk", model=model, handoffs=[expert])
    result = await Runner.run(clerk, "Where is it?", session=session, run_config=QUIET)
    assert (result.last_agent, result.final_output) == (expert, "It is lost.")
    again = await Runner.run(expert, "What?", session=session, run_config=QUIET)
    assert again.final_output == "Sorry."
    kinds = [item.get("type", "message") for item in await session.get_items()]
    assert kinds == ["message", "function_call", "function_call_output", *["message"] * 3]


async def test_a_retry_that_rewinds_leaves_no_double(session: RewindowSession) -> None:
    """The runner writes a turn, its request is refused, the turn is taken back, and said again."""
    await session.add_items([{"role": "user", "content": "before"}])
    turn: Any = [
        {"role": "user", "content": "When?"},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "a", "output": "late"},
    ]
    for _attempt in range(3):
        await session.add_items(turn)
        await rewind_session_items(session, turn)
        assert words(await session.get_items()) == ["before"]
    await session.add_items(turn)
    assert words(await session.get_items()) == ["before", "When?", '{"a": 1}', "late"]
    history = [message.undone async for message in session.context.replay()]
    assert history == [False] + [True] * 9 + [False] * 3


async def test_a_request_that_fails_and_is_made_again(session: RewindowSession) -> None:
    request = httpx.Request("POST", "http://api")
    locked = BadRequestError(
        "locked",
        response=httpx.Response(400, request=request),
        body={"code": "conversation_locked"},
    )
    model = FakeModel(locked, [says("On Monday.")])
    agent = Agent("clerk", model=model, model_settings=ModelSettings())
    result = await Runner.run(agent, "When?", session=session, run_config=QUIET)
    assert result.final_output == "On Monday."
    assert len(model.heard) == 2
    assert words(await session.get_items()) == ["When?", "On Monday."]


async def test_a_window_that_was_cut_is_one_that_a_model_takes(
    rewindow: AsyncRewindow, name: str
) -> None:
    policy = {"strategy": "last_n", "config": {"limit": 3}}
    session = RewindowSession(name, rewindow, token_budget=200, trigger_ratio=0.2, policy=policy)
    thought, call = thinks("Hm.").model_dump(), calls("weather", "a", city="Ulm").model_dump()
    result = {"type": "function_call_output", "call_id": "a", "output": "rain"}
    question = {"role": "user", "content": "The weather, please, in Ulm and in other cities?"}
    answer = says("It rains, and it goes on, says the radio.").model_dump()
    await session.add_items([question, thought, call, result, answer])
    shown: list[Any] = list(await session.get_items())
    assert words(shown) == ['{"city": "Ulm"}', "rain", words([answer])[0]]
    assert not any("id" in item for item in shown), "names that tie them to reasoning are gone"
    await session.add_items([question])
    assert words(await session.get_items()) == [words([answer])[0], question["content"]]
    assert await session.get_items(limit=6) == [question, thought, call, result, answer, question]


async def test_after_an_undo_what_is_left_is_whole(session: RewindowSession) -> None:
    items: Any = [thinks("Hm.").model_dump(), says("Yes.").model_dump()]
    await session.add_items([{"role": "user", "content": "wrong"}])
    await session.clear_session()
    await session.add_items(items)
    assert await session.get_items() == items


async def test_a_summary_stands_where_it_was_put(session: RewindowSession) -> None:
    await session.add_items([{"role": "user", "content": str(number)} for number in range(4)])
    await session.context.compact([text("system", "0 to 3 were counted.")])
    await session.add_items([{"role": "user", "content": "4"}])
    assert words(await session.get_items()) == ["0 to 3 were counted.", "4"]
    assert words(await session.get_items(limit=2)) == ["3", "4"]


SPEAKER = """
import asyncio, sys
from rewindow_client import AsyncRewindow
from rewindow_client.openai_agents import RewindowSession

async def main(url, name, who):
    async with AsyncRewindow(url) as client:
        session = RewindowSession(name, client, token_budget=1_000_000)
        for number in range(30):
            said = [{"role": "user", "content": f"{who} {number} {half}"} for half in "ab"]
            await session.add_items(said)
            assert said[-1] in await session.get_items(), "what one wrote, one reads"

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_on_one_session(
    session: RewindowSession, node: LiveNode, name: str
) -> None:
    async def speak(who: str) -> int:
        speaker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SPEAKER, node.url, name, who
        )
        return await asyncio.wait_for(speaker.wait(), 120)

    assert await asyncio.gather(speak("ann"), speak("bob")) == [0, 0]
    said = [str(item["content"]) for item in await session.get_items()]
    assert len(said) == 120
    for who in ("ann", "bob"):
        own = [one for one in said if one.startswith(who)]
        assert own == [f"{who} {number} {half}" for number in range(30) for half in "ab"]
    pairs = [one.split()[:2] for one in said]
    assert pairs[::2] == pairs[1::2], "a batch is never parted"

"""A history of LangChain on a live node, and LangChain's own runnable on top of it."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from pydantic import Field

from rewindow_client import AsyncRewindow, Rewindow, text
from rewindow_client.langchain import RewindowChatMessageHistory
from tests.support.live_node import LiveNode

MESSAGES: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage("Where is my parcel?", name="ann", id="h-1"),
    AIMessage(
        "Let me see.",
        id="run--1",
        tool_calls=[{"name": "look", "args": {"n": 1.0}, "id": "c1", "type": "tool_call"}],
        usage_metadata={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        response_metadata={"model_name": "m"},
    ),
    ToolMessage("on the way", tool_call_id="c1", artifact={"raw": [1]}, status="error"),
    ToolMessage([{"type": "text", "text": "late"}], tool_call_id="c2"),
    AIMessage(
        [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "text", "text": "It is", "citations": [1]},
            "late",
            {"type": "tool_use", "id": "c3", "name": "look", "input": {}},
        ],
        tool_calls=[{"name": "look", "args": {}, "id": "c3", "type": "tool_call"}],
    ),
    AIMessage(
        "",
        invalid_tool_calls=[
            {"name": "look", "args": "{", "id": None, "error": "e", "type": "invalid_tool_call"}
        ],
    ),
    AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": None, "type": "tool_call"}]),
    AIMessageChunk("a piece", id="run--2"),
    HumanMessage([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]),
    HumanMessage([]),
    ChatMessage("Boo.", role="critic"),
    FunctionMessage("42", name="answer"),
]


@pytest.fixture(params=["sync", "threads", "async"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Asked:
    """A history, asked in one of three ways: waiting, awaiting threads, awaiting."""

    def __init__(self, way: str, history: RewindowChatMessageHistory) -> None:
        self._way = way
        self.history = history

    async def messages(self) -> list[BaseMessage]:
        if self._way == "sync":
            return await asyncio.to_thread(lambda: self.history.messages)
        return await self.history.aget_messages()

    async def add(self, *messages: BaseMessage) -> None:
        if self._way == "sync":
            await asyncio.to_thread(self.history.add_messages, messages)
        else:
            await self.history.aadd_messages(messages)

    async def clear(self) -> None:
        if self._way == "sync":
            await asyncio.to_thread(self.history.clear)
        else:
            await self.history.aclear()


@pytest.fixture
def rewindow(node: LiveNode) -> Iterator[Rewindow]:
    with Rewindow(node.url) as client:
        yield client


@pytest.fixture
async def asked(way: str, rewindow: Rewindow, node: LiveNode, name: str) -> Any:
    async with AsyncRewindow(node.url) as client:
        other = client if way == "async" else None
        yield Asked(way, RewindowChatMessageHistory(name, rewindow, other, token_budget=100_000))


def written(messages: list[BaseMessage]) -> list[str]:
    """1, 1.0 and true are not the same."""
    return [json.dumps(message_to_dict(one), sort_keys=True) for one in messages]


async def test_messages_come_back_as_they_were(asked: Asked) -> None:
    assert await asked.messages() == []
    await asked.add(*MESSAGES)
    assert written(await asked.messages()) == written(MESSAGES)


async def test_what_is_cleared_is_gone_and_stays_in_the_history(asked: Asked) -> None:
    await asked.add(HumanMessage("One"), AIMessage("Two"))
    context = asked.history.context
    await asyncio.to_thread(context.compact, [text("system", "One and two.")])
    await asked.clear()
    assert await asked.messages() == []
    await asyncio.to_thread(context.compact, [text("system", "It stands for nothing.")])
    await asked.clear()
    assert await asked.messages() == []
    await asked.add(HumanMessage("Three"))
    assert [message.content for message in await asked.messages()] == ["Three"]
    history = await asyncio.to_thread(lambda: list(context.replay()))
    assert [message.text for message in history] == ["One", "Two", "Three"]


def test_more_than_a_request_takes_goes_in_in_order(rewindow: Rewindow, name: str) -> None:
    history = RewindowChatMessageHistory(name, rewindow, token_budget=1_000_000)
    history.add_messages([HumanMessage(str(number)) for number in range(250)])
    assert [message.content for message in history.messages] == list(map(str, range(250)))
    assert history.context.state().version == 3


def test_what_others_said_is_there_as_well(rewindow: Rewindow, name: str) -> None:
    history = RewindowChatMessageHistory(name, rewindow)
    history.add_user_message("One")
    call = {"type": "tool-call", "call_id": "c", "name": "look", "input": {"at": 1}}
    result = {"type": "tool-result", "call_id": "c", "output": {"as": "text", "value": "there"}}
    history.context.append(
        {"role": "assistant", "parts": [{"type": "text", "text": "Two"}, call]},
        {"role": "tool", "parts": [result, {"type": "never heard of"}]},
        {"role": "critic", "parts": [{"type": "text", "text": "Boo."}]},
    )
    one, two, there, boo = history.messages
    assert (one.content, two.content, there.content, boo.content) == ("One", "Two", "there", "Boo.")
    assert isinstance(two, AIMessage)
    assert [(call["id"], call["args"]) for call in two.tool_calls] == [("c", {"at": 1})]
    assert isinstance(there, ToolMessage)


def test_an_instruction_is_no_message(rewindow: Rewindow, name: str) -> None:
    history = RewindowChatMessageHistory(name, rewindow)
    with pytest.raises(ValueError, match="no message"):
        history.add_messages([RemoveMessage(id="h-1")])


def chain(client: Rewindow, other: AsyncRewindow | None, model: GenericFakeChatModel) -> Any:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be brief."), MessagesPlaceholder("history"), ("human", "{question}")]
    )

    def history(session_id: str) -> RewindowChatMessageHistory:
        return RewindowChatMessageHistory(session_id, client, other, token_budget=60)

    return RunnableWithMessageHistory(
        prompt | model,
        history,
        input_messages_key="question",
        history_messages_key="history",
    )


class Listening(GenericFakeChatModel):
    """Keeps what it was asked."""

    heard: list[list[str]] = Field(default_factory=list)

    def _generate(self, messages: list[BaseMessage], *more: Any, **others: Any) -> Any:
        self.heard.append([str(message.content) for message in messages])
        return super()._generate(messages, *more, **others)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream"])
async def test_langchains_own_runnable_talks_over_it(
    rewindow: Rewindow, node: LiveNode, way: str
) -> None:
    model = Listening(messages=iter([AIMessage(f"Answer {n}") for n in range(1, 9)]))
    session = f"langchain {uuid.uuid4().hex}"
    config = {"configurable": {"session_id": session}}
    async with AsyncRewindow(node.url) as other:
        runnable = chain(rewindow, other, model)
        for number in range(1, 9):
            question = {"question": f"Question {number}"}
            if way == "ainvoke":
                await runnable.ainvoke(question, config)
            elif way == "invoke":
                await asyncio.to_thread(runnable.invoke, question, config)
            else:
                pieces = [piece async for piece in runnable.astream(question, config)]
                assert "".join(str(piece.content) for piece in pieces) == f"Answer {number}"
    assert model.heard[1] == ["Be brief.", "Question 1", "Answer 1", "Question 2"]
    # The budget of 60 tokens holds eight messages of seven; the model hears no more than these.
    assert model.heard[-1][-3:] == ["Question 7", "Answer 7", "Question 8"]
    assert "Question 1" not in model.heard[-1]
    context = rewindow.context(session)
    told = [message.text for message in context.replay()]
    assert told == [f"{who} {n}" for n in range(1, 9) for who in ("Question", "Answer")]
    assert context.window().used_tokens <= 60

"""A model of the OpenAI Agents SDK that says what it is told to say, and keeps what it heard."""

import json
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)
from openai.types.responses.response_reasoning_item import Summary

Output = Any


class FakeModel(Model):
    """Each turn is a list of outputs, or an exception. `instructions` and `heard`: what
    came with each turn."""

    def __init__(self, *turns: list[Output] | Exception) -> None:
        self.instructions: list[str | None] = []
        self.heard: list[list[Any]] = []
        self._turns = list(turns)

    async def get_response(
        self, system_instructions: str | None, input: Any, *_more: Any, **_others: Any
    ) -> ModelResponse:
        return ModelResponse(self._turn(system_instructions, input), Usage(), response_id=None)

    async def stream_response(
        self, system_instructions: str | None, input: Any, *_more: Any, **_others: Any
    ) -> AsyncIterator[Any]:
        response = Response(
            id="resp",
            created_at=0,
            model="fake",
            object="response",
            output=self._turn(system_instructions, input),
            tool_choice="none",
            tools=[],
            parallel_tool_calls=False,
        )
        yield ResponseCompletedEvent(
            type="response.completed", response=response, sequence_number=0
        )

    def _turn(self, instructions: str | None, heard: Any) -> list[Output]:
        self.instructions.append(instructions)
        self.heard.append(json.loads(json.dumps(heard)))
        turn = self._turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn


def says(text: str) -> ResponseOutputMessage:
    """An answer in words."""
    return ResponseOutputMessage(
        id=f"msg_{abs(hash(text))}",
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])],
    )


def calls(name: str, call_id: str, **arguments: Any) -> ResponseFunctionToolCall:
    """A tool is called."""
    return ResponseFunctionToolCall(
        id=f"fc_{call_id}",
        type="function_call",
        call_id=call_id,
        name=name,
        arguments=json.dumps(arguments),
        status="completed",
    )


def thinks(text: str) -> ResponseReasoningItem:
    """What a model thought before it said or called something."""
    return ResponseReasoningItem(
        id=f"rs_{abs(hash(text))}",
        type="reasoning",
        summary=[Summary(text=text, type="summary_text")],
        encrypted_content="gAAAA",
    )

"""An agent of the OpenAI Agents SDK whose tools give a lot back. With `skip_parts`, what tools gave
leaves the window before anything that was said does; the history keeps it.

    python examples/tool_agent.py "What is in pyproject.toml?" "And in the Makefile?"

Needs `rewindow-client[openai-agents]`, and a key of OpenAI in OPENAI_API_KEY.
"""

import asyncio
import sys
from pathlib import Path

from agents import Agent, Model, Runner, function_tool

from rewindow_client import AsyncRewindow
from rewindow_client.openai_agents import RewindowSession

BUDGET_TOKENS = 4000
POLICY = {"strategy": "skip_parts", "config": {"skip_kinds": ["tool", "reasoning"]}}


@function_tool
def read_file(path: str) -> str:
    """The text of a file."""
    return Path(path).read_text()


async def converse(
    url: str, context_id: str, questions: list[str], model: str | Model | None = None
) -> list[str]:
    """Ask one question after the other in a session that lasts; the answers."""
    agent = Agent("reader", "Read files to answer.", model=model, tools=[read_file])
    answers = []
    async with AsyncRewindow(url) as client:
        session = RewindowSession(context_id, client, token_budget=BUDGET_TOKENS, policy=POLICY)
        for question in questions:
            result = await Runner.run(agent, question, session=session)
            answers.append(str(result.final_output))
            window = await session.context.window()
            print(f"{question}\n  {answers[-1]}\n  ({window.used_tokens} tokens in the window)")
    return answers


if __name__ == "__main__":
    asyncio.run(converse("http://127.0.0.1:4000", "tool-agent", sys.argv[1:]))

"""The model behind the examples: any that speaks OpenAI's chat completions, or none at all.

OPENAI_API_KEY, and OPENAI_BASE_URL and OPENAI_MODEL where they are not OpenAI's own, say which one.
Without a key a parrot answers, and no network is needed.
"""

import os
from collections.abc import Callable
from typing import Any

import httpx

Model = Callable[[list[dict[str, Any]]], str]
"""From the messages of a chat to what is said next."""


def parrot(messages: list[dict[str, Any]]) -> str:
    """Says how much it has heard, and again how the last message began."""
    return f"I have heard {len(messages)} messages. The last one: {messages[-1]['content']:.60}"


def chat(messages: list[dict[str, Any]]) -> str:
    """Ask the model."""
    url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
    answer = httpx.post(
        f"{url}/chat/completions",
        headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
        json={"model": os.environ.get("OPENAI_MODEL", "gpt-5"), "messages": messages},
        timeout=120,
    )
    said: str = answer.raise_for_status().json()["choices"][0]["message"]["content"]
    return said


def from_environment() -> Model:
    """The one that the environment says."""
    return chat if "OPENAI_API_KEY" in os.environ else parrot

"""One context over HTTP, as a client sees it, and the messages that tests say."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx

Json = dict[str, Any]


def said(text: str, *, tokens: int | None = None, role: str = "user") -> Json:
    """A message of one text part."""
    message: Json = {"role": role, "parts": [{"type": "text", "text": text}]}
    return message if tokens is None else message | {"token_count": tokens}


def texts(messages: Sequence[Json]) -> list[str]:
    """What was said, in order."""
    return [message["parts"][0]["text"] for message in messages]


def is_problem(answer: httpx.Response, status: int, code: str, field: str | None = None) -> Json:
    """Assert the error shape, and give the body back."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: Json = answer.json()
    assert body["error"] == code
    assert len(body["message"].split()) > 2
    if field is not None:
        assert body["field"] == field, body
    return body


class Context:
    """The routes of one context."""

    def __init__(self, client: httpx.AsyncClient, context_id: str) -> None:
        self.client = client
        self.id = context_id
        self.path = f"/v1/contexts/{quote(context_id, safe='')}"

    async def put(self, body: Json | None = None, **options: Any) -> httpx.Response:
        return await self.client.put(self.path, json=body or {}, **options)

    async def get(self) -> Json:
        answer = await self.client.get(self.path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def delete(self) -> httpx.Response:
        return await self.client.delete(self.path)

    async def post(self, body: Any, **options: Any) -> httpx.Response:
        return await self.client.post(f"{self.path}/messages", json=body, **options)

    async def say(self, *contents: str, tokens: int | None = None) -> Json:
        """Append messages in one request; its answer."""
        answer = await self.post({"messages": [said(text, tokens=tokens) for text in contents]})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def compact(self, body: Any, **options: Any) -> httpx.Response:
        return await self.client.post(f"{self.path}/compact", json=body, **options)

    async def undo(self, body: Any, **options: Any) -> httpx.Response:
        return await self.client.post(f"{self.path}/undo", json=body, **options)

    async def patch(self, body: Any, **options: Any) -> httpx.Response:
        return await self.client.patch(f"{self.path}/metadata", json=body, **options)

    async def read(self, noun: str, **query: Any) -> httpx.Response:
        """`tail`, `messages` or `context`."""
        return await self.client.get(f"{self.path}/{noun}", params=query)

    async def window(self, **query: Any) -> Json:
        answer = await self.read("context", **query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

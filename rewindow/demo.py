"""The demo of `rewindow up --demo`: a conversation told through both doors, then shown."""

import asyncio
import json
import shlex
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

import httpx
from confluent_kafka import Producer
from rich.console import Console

from rewindow.endpoints import Endpoints
from rewindow.settings import NodeSettings
from rewindow.show import console, legend, messages_table, window_panel
from schemas.topics import PARTITIONER

CONTEXT_ID: Final = "checkout"
HISTORY_SHOWN_MAX: Final = 30
REQUEST_S: Final = 15.0
LOG_S: Final = 10.0
ARCHIVE_S: Final = 6.0
ASK_AGAIN_S: Final = 0.02


class NotTold(Exception):
    """The conversation could not be appended; the message says why."""


async def show_demo(endpoints: Endpoints) -> None:
    """Tell the conversation where that was not done before, show it, and say how to go on.

    Whatever fails is said in one sentence, and nothing is raised: `up` goes on in any case.
    """
    out = console()
    try:
        async with Demo(endpoints) as demo:
            await _present(demo, endpoints, out)
    except SystemExit:
        # That is how rich takes a closed pipe.
        _say_why_not("nobody reads the output")
    except Exception as exc:
        _say_why_not(str(exc) or type(exc).__name__)


class Demo:
    """One conversation in one context. Its keys are fixed, so that it is never told twice."""

    def __init__(self, endpoints: Endpoints, context_id: str = CONTEXT_ID) -> None:
        story = json.loads(files("rewindow").joinpath("demo.json").read_bytes())
        self.context_id = context_id
        self.messages: list[dict[str, Any]] = story["messages"]
        self._configuration: dict[str, Any] = story["context"]
        self._path = f"/v1/contexts/{quote(context_id, safe='')}"
        # The node was told by the same environment.
        settings = NodeSettings(kafka=endpoints.kafka)
        self.wants_key = bool(keys := settings.access().keys)
        self._http = httpx.AsyncClient(
            base_url=endpoints.http[0],
            headers={"Authorization": f"Bearer {keys[0]}"} if keys else {},
            timeout=REQUEST_S,
            # A proxy has no business on this machine.
            trust_env=False,
        )
        self._topic = settings.topics.log
        self._producer = Producer(
            {**settings.librdkafka(), "partitioner": PARTITIONER, "acks": "all"}
        )

    async def __aenter__(self) -> "Demo":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._http.aclose()

    async def tell(self) -> bool:
        """Append what is not there yet, in order; whether all of it was there. Raises `NotTold`.

        What tools answer is produced to the log, by no other means than any Kafka client has; the
        rest goes over HTTP.
        """
        last = len(self.messages)
        if await self._has("last_seq", last):
            return True
        await self._ask("PUT", "", self._configuration, key="demo")
        for number, message in enumerate(self.messages, 1):
            key = f"demo-{number}"
            if message["role"] == "tool":
                await self._produce(message, key)
            else:
                await self._ask("POST", "/messages", {"message": message}, key=key)
        if not await _comes(lambda: self._has("last_seq", last), LOG_S):
            raise NotTold(f"what went into {self._topic} was not folded within {LOG_S:g} s")
        return False

    async def archived(self) -> bool:
        """Wait a little until the archive has it all; whether it has."""
        return await _comes(lambda: self._has("archived_seq", len(self.messages)), ARCHIVE_S)

    async def read(self, what: str = "") -> dict[str, Any]:
        """The context itself, or something of it. Raises `NotTold`."""
        return await self._ask("GET", what)

    async def _has(self, field: str, seq: int) -> bool:
        answer = await self._http.get(self._path)
        return answer.is_success and int(answer.json()[field]) >= seq

    async def _ask(
        self, method: str, what: str, body: dict[str, Any] | None = None, *, key: str | None = None
    ) -> dict[str, Any]:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = await self._http.request(method, self._path + what, json=body, headers=headers)
        told: dict[str, Any] = answer.json()
        if answer.is_error:
            raise NotTold(str(told["message"]))
        return told

    async def _produce(self, message: dict[str, Any], key: str) -> None:
        """A CloudEvent under the context's id; the fold gives it its seq."""
        event = {
            "specversion": "1.0",
            "id": key,
            "source": "/rewindow/demo",
            "type": "message.appended.v1",
            "subject": self.context_id,
            "data": {"messages": [message]},
        }
        failures: list[str] = []

        def delivered(error: Any, _record: Any) -> None:
            if error is not None:
                failures.append(error.str())

        self._producer.produce(
            self._topic, key=self.context_id, value=json.dumps(event), on_delivery=delivered
        )
        if not await _comes(self._flushed, LOG_S):
            failures.append(f"no answer within {LOG_S:g} s")
        if failures:
            raise NotTold(f"{self._topic} did not take a message: {failures[0]}")

    async def _flushed(self) -> bool:
        return self._producer.flush(0) == 0


async def _comes(asked: Callable[[], Awaitable[bool]], patience_s: float) -> bool:
    """Ask again and again; whether the answer was yes in the end."""
    deadline = time.monotonic() + patience_s
    while not await asked():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(ASK_AGAIN_S)
    return True


def _say_why_not(why: str) -> None:
    sys.stderr.write(f"the demo can't be shown ({why}); everything else goes on\n")


async def _present(demo: Demo, endpoints: Endpoints, out: Console) -> None:
    found = await demo.tell()
    archive = endpoints.postgres is not None
    complete = archive and await demo.archived()
    context = await demo.read()
    tail = await demo.read(f"/tail?limit={HISTORY_SHOWN_MAX}")
    window = await demo.read("/context")

    by_tools = sum(message["role"] == "tool" for message in demo.messages)
    out.print(
        "\nThe demo, an agent that looks into a slow checkout: "
        + (
            "found from last time, and\nnothing was appended.\n"
            if found
            else f"{len(demo.messages) - by_tools} messages appended over\n"
            f"HTTP, and {by_tools}, the answers of its tools, produced straight to the log.\n"
        )
    )
    out.print(messages_table(tail["messages"], window["messages"]))
    out.print(legend())
    out.print()
    out.print(window_panel(context, window))
    if not archive:
        out.print("The archive is off, as there is no Postgres: all messages stay hot.")
    elif not complete:
        out.print("The archive has not caught up yet.")
    _say_where(demo, endpoints, out)


def _say_where(demo: Demo, endpoints: Endpoints, out: Console) -> None:
    path = f"{endpoints.http[0]}/v1/contexts/{demo.context_id}"
    message = {"message": {"role": "user", "parts": [{"type": "text", "text": "Thanks!"}]}}
    body = shlex.quote(json.dumps(message, separators=(",", ":")))
    key = ' \\\n    -H "Authorization: Bearer ${REWINDOW_API_KEYS%%,*}"' if demo.wants_key else ""
    lines = [
        "",
        f"HTTP   {endpoints.http[0]}",
        f"Kafka  {endpoints.kafka}",
        *(() if endpoints.postgres is None else ("Postgres", endpoints.postgres)),
        "",
        "Try in another terminal: the window in half its budget, the newest message, and",
        "one more.",
        f"  curl '{path}/context?budget_tokens=900'{key}",
        f"  curl '{path}/tail?limit=1'{key}",
        f"  curl {path}/messages{key} \\\n    -d {body}",
        "",
        "Ctrl-C stops everything; started again, all of it is there.",
    ]
    # To be copied as they are, so never broken into lines.
    out.print("\n".join(lines), soft_wrap=True)

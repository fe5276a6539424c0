"""What is logged, and how: a line an event, the same for everybody, and never what was said."""

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from rewindow.errors import CannotStart
from rewindow.logs import COMPLAINTS_MAX, REPEATED_EVERY_S, Sparing, configure_logs
from tests.support.live_node import LiveNode, live_node
from tests.support.wait import until

Line = dict[str, Any]

SAYS = """
import logging, warnings, structlog
from rewindow.logs import configure_logs
from schemas.trail import Trail
from streams.trail import TRAIL
configure_logs()
log = structlog.get_logger()
log.debug("a detail")
log.info("said", context_id="a person\\n", seq=None, offset=7)
token = TRAIL.set(Trail("r-1", None))
log.warning("in a request")
logging.getLogger("library").warning("so %s", "it is")
TRAIL.reset(token)
logging.getLogger("library").info("chatter")
try:
    secret = "geheim"
    1 / 0
except ZeroDivisionError as exc:
    log.error("a bug", exc_info=exc)
    logging.getLogger("library").exception("its bug")
warnings.warn("careful")
"""


def said(**environment: str) -> str:
    """What a process writes whose standard error is no terminal."""
    return subprocess.run(
        (sys.executable, "-c", SAYS),
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        check=True,
        text=True,
    ).stderr


def test_without_a_terminal_every_line_is_json() -> None:
    lines: list[Line] = [json.loads(line) for line in said().splitlines()]
    assert [list(line)[:3] for line in lines] == [["timestamp", "level", "event"]] * len(lines)
    events = [(line["level"], line["event"]) for line in lines]
    assert events[:5] == [
        ("info", "said"),
        ("warning", "in a request"),
        ("warning", "so it is"),
        ("error", "a bug"),
        ("error", "its bug"),
    ]
    assert "careful" in events[5][1]
    first = lines[0]
    assert (first["context_id"], first["offset"]) == ("a person\n", 7)
    assert "seq" not in first, "what does not apply is left out"
    assert first["timestamp"].endswith("Z")
    assert [line.get("request_id") for line in lines[:4]] == [None, "r-1", "r-1", None]
    assert [line.get("logger") for line in lines[:3]] == [None, None, "library"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_stack_traces_show_no_values(form: str) -> None:
    text = said(REWINDOW_LOG_FORMAT=form)
    assert text.count("ZeroDivisionError") == 2
    # Once in each trace, in the line of the source; never as a value.
    assert "secret = 'geheim'" not in text
    assert "geheim" not in text.replace('secret = "geheim"', "")


def test_people_at_a_terminal_get_no_json() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen((sys.executable, "-c", SAYS), stderr=theirs)
    os.close(theirs)
    text = b"".join(_read(ours)).decode()
    assert process.wait() == 0
    assert "said" in text
    assert "context_id" in text
    assert not any(line.startswith("{") for line in text.splitlines())
    assert said(REWINDOW_LOG_FORMAT="console").startswith("20")


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # The other end was closed.
            return
        if not piece:
            return
        yield piece


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", {"a detail", "said", "in a request"}),
        ("warning", {"in a request"}),
        ("error", set()),
    ],
)
def test_the_level_says_what_is_left_out(level: str, events: set[str]) -> None:
    lines = [json.loads(line) for line in said(REWINDOW_LOG_LEVEL=level).splitlines()]
    ours = {line["event"] for line in lines if "logger" not in line}
    assert ours == events | {"a bug"}
    assert "chatter" not in {line["event"] for line in lines}


@pytest.mark.parametrize("name", ["REWINDOW_LOG_FORMAT", "REWINDOW_LOG_LEVEL"])
def test_what_can_not_be_used_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "loud")
    with pytest.raises(CannotStart, match=name):
        configure_logs()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def complaint(template: str, *args: object, name: str = "aiokafka") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, template, args, None)


def test_a_complaint_that_is_repeated_is_said_now_and_then_and_how_often_it_came() -> None:
    clock = Clock()
    sparing = Sparing(clock)
    assert sparing.filter(complaint("no node %s", 0))
    assert sparing.filter(complaint("another one"))
    assert sparing.filter(complaint("no node %s", 0, name="another logger"))
    assert not any(sparing.filter(complaint("no node %s", n)) for n in range(1000))
    clock.now = REPEATED_EVERY_S
    again = complaint("no node %s", 1)
    assert sparing.filter(again)
    assert again.__dict__["repeated"] == 1000
    assert not sparing.filter(complaint("no node %s", 2))
    clock.now = 3 * REPEATED_EVERY_S
    last = complaint("no node %s", 2)
    assert sparing.filter(last)
    assert last.__dict__["repeated"] == 1


def test_complaints_that_are_all_different_are_all_said_and_not_all_remembered() -> None:
    sparing = Sparing(Clock())
    assert all(sparing.filter(complaint(f"number {n}")) for n in range(3 * COMPLAINTS_MAX))
    assert len(sparing._held) <= COMPLAINTS_MAX


@pytest.fixture
def node(kafka: str, postgres_url: str, tmp_path: Path) -> Iterator[LiveNode]:
    with live_node(tmp_path, kafka, postgres_url, log_level="debug", partitions="1") as node:
        yield node


def test_a_nodes_lines_follow_a_request_into_the_fold_and_tell_no_secrets(node: LiveNode) -> None:
    secret = "what only the two of us know"
    message = {
        "role": "user",
        "parts": [{"type": "text", "text": secret}],
        "metadata": {"m": secret},
    }
    url = f"{node.url}/v1/contexts/c"
    httpx.put(url, json={"metadata": {"m": secret}}).raise_for_status()
    ids = {"X-Request-Id": "r-1", "Idempotency-Key": "k"}
    httpx.post(f"{url}/messages", json={"message": message}, headers=ids).raise_for_status()
    wrong = {"message": message, "if_version": 7}
    httpx.post(f"{url}/messages", json=wrong, headers={"X-Request-Id": "r-2"})
    httpx.post(f"{url}/compact", json={"replacement": [message]}).raise_for_status()
    _write(node, b"c", json.dumps({"specversion": "1.0", "data": message}).encode())

    def lines() -> list[Line]:
        return [json.loads(line) for line in node.said().splitlines()]

    def of(request_id: str) -> list[Line]:
        return [line for line in lines() if line.get("request_id") == request_id]

    (accepted,) = until(lambda: of("r-1"), "the fold's line")
    assert {name: accepted[name] for name in accepted if name not in ("timestamp", "offset")} == {
        "level": "debug",
        "event": "event folded",
        "context_id": "c",
        "seq": 1,
        "version": 1,
        "type": "message.appended.v1",
        "outcome": "Appended",
        "request_id": "r-1",
        "partition": 0,
    }
    (refused,) = until(lambda: of("r-2"), "the refusal's line")
    assert refused["outcome"] == "Refused"
    assert refused["offset"] > accepted["offset"]
    until(lambda: "dead-letter" in node.said(), "the line of what could not be understood")
    until(lambda: "Advanced" in node.said(), "the archive's watermark")
    node.end()
    assert secret not in node.said()
    lines()


def _write(node: LiveNode, key: bytes, value: bytes) -> None:
    producer = Producer(node.settings.librdkafka())
    producer.produce(node.settings.topics.log, value, key, 0)
    assert producer.flush(20) == 0

"""The demo of `rewindow up --demo`, as it shows itself on a terminal of 80 columns."""

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rewindow.demo import Demo, NotTold, show_demo
from rewindow.embedded.ports import free_port
from rewindow.endpoints import Endpoints
from schemas.codec import decode_event
from schemas.events import LogEvent
from streams.settings import KafkaConfig
from streams.tables.source import Source
from streams.topics import partitions_of
from tests.support.up_command import UpCommand
from tests.support.wait import until_async

LOG = "rewindow.log"
END = "Ctrl-C stops everything"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[UpCommand]:
    """The first start, for all tests that leave it running."""
    command = UpCommand(folder, "--demo")
    try:
        command.wait_until_it_says(END)
        yield command
    finally:
        command.discard()


def read(up: UpCommand, path: str = "") -> Any:
    return httpx.get(f"{up.url}/v1/contexts/checkout{path}").raise_for_status().json()


def shown(up: UpCommand, marks: str) -> list[int]:
    """The seqs of the lines that begin with one of the marks."""
    return [int(seq) for seq in re.findall(rf"^[{marks}] +([0-9]+) ", up.said, re.MULTILINE)]


def test_it_shows_the_history_with_what_of_it_is_in_the_window(up: UpCommand) -> None:
    messages, window = read(up, "/messages")["messages"], read(up, "/context")["messages"]
    assert shown(up, "●◐·") == [message["seq"] for message in messages] == list(range(1, 21))
    assert shown(up, "●◐") == [message["seq"] for message in window]
    whole = [message["seq"] for message in window if message in messages]
    assert shown(up, "●") == whole
    assert len(window) > len(whole) > 0, "some messages are there without some of their parts"


def test_the_budget_bites_and_holds(up: UpCommand) -> None:
    window = read(up, "/context")
    used, budget = window["used_tokens"], window["token_budget"]
    assert used <= budget < sum(m["token_count"] for m in read(up, "/messages")["messages"])
    (line,) = re.findall(r"budget +(█+)(░+) +([0-9,]+) of ([0-9,]+) tokens", up.said)
    assert [number.replace(",", "") for number in line[2:]] == [str(used), str(budget)]
    assert len(line[0]) / len(line[0] + line[1]) == pytest.approx(used / budget, abs=0.03)


def test_it_waits_for_the_archive(up: UpCommand) -> None:
    assert re.search(r"archive +█+ +20 of 20 messages", up.said)
    assert read(up)["archived_seq"] == 20


def test_it_fits_a_terminal(up: UpCommand) -> None:
    assert [line for line in up.said.splitlines() if len(line) > 80] == []


def test_the_conversation_is_told_through_both_doors(up: UpCommand) -> None:
    story = Demo(up.endpoints).messages
    told = [{"role": m["role"], "parts": m["parts"]} for m in read(up, "/messages")["messages"]]
    assert told == story
    doors = [event.source for event in events(up) if event.subject == "checkout"]
    assert doors.count("/rewindow/demo") == sum(m["role"] == "tool" for m in story) == 9
    assert f"{len(story) - 9} messages appended over\nHTTP, and 9" in up.said


def events(up: UpCommand) -> list[LogEvent]:
    """Everything in the log."""
    kafka: KafkaConfig = {"bootstrap.servers": up.endpoints.kafka}
    source = Source(kafka, LOG)
    found = [
        decode_event(record.key, record.value)
        for partition in range(partitions_of(kafka, LOG))
        for record in source.visible(partition, 0, source.bounds(partition).end).records
    ]
    source.close()
    return found


def test_what_it_says_to_try_works_as_printed(up: UpCommand) -> None:
    lines = up.said.split("one more.\n")[1].split("\n\n")[0]
    assert lines.count("curl ") == 3
    answers = [
        json.loads(subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout)
        for line in re.split(r"\n(?=  curl)", lines)
    ]
    assert 0 < answers[0]["used_tokens"] <= answers[0]["token_budget"] == 900
    assert [message["seq"] for message in answers[1]["messages"]] == [20]
    assert answers[2]["seq"] == 21


async def test_one_that_was_interrupted_is_told_to_its_end_and_once(up: UpCommand) -> None:
    async with Demo(up.endpoints, "interrupted") as demo:
        telling = asyncio.create_task(demo.tell())
        await until_async(lambda: has(demo, 5), "five messages are told")
        telling.cancel()
        await asyncio.wait([telling])
        await demo.tell()
        assert await demo.tell() is True, "all of it is there"
        told = (await demo.read("/messages"))["messages"]
        assert [message["parts"] for message in told] == [m["parts"] for m in demo.messages]


async def has(demo: Demo, seq: int) -> bool:
    try:
        return int((await demo.read())["last_seq"]) >= seq
    except NotTold:
        return False


def test_a_second_start_finds_it_and_appends_nothing(up: UpCommand, folder: Path) -> None:
    before = read(up, "/messages")
    assert up.end(signal.SIGINT) == 0
    again = UpCommand(folder, "--demo", "--no-postgres")
    try:
        again.wait_until_it_says(END)
        assert "found from last time" in again.said
        assert "The archive is off, as there is no Postgres" in again.said
        assert "Postgres\n" not in again.said
        assert read(again, "/messages") == before
        assert shown(again, "●◐·") == [message["seq"] for message in before["messages"]]
    finally:
        again.discard()


async def test_a_failure_is_said_in_one_sentence_and_goes_no_further(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    await show_demo(Endpoints([f"http://{nowhere}"], nowhere, None, [], []))
    assert capsys.readouterr().err == (
        "the demo can't be shown (All connection attempts failed); everything else goes on\n"
    )

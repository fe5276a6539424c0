"""Every example in docs/topics.md: the codec takes the records, the programs do what they say."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from api.shapes import READERS
from schemas.codec import decode_event, decode_fact
from schemas.events import EVENT_TYPES
from schemas.facts import FACT_TYPES
from schemas.records import event_schemas, fact_schemas
from schemas.topics import Topics
from tests.support.contracts import validator
from tests.support.live_node import LiveNode, live_node
from tests.support.wait import until

PAGE = (Path(__file__).parents[1] / "docs" / "topics.md").read_text()
SCHEMAS = event_schemas(READERS) | fact_schemas(READERS)
BROKER = "127.0.0.1:9092"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def table(header: str) -> list[str]:
    """The first cells of the table with this header, without the back quotes."""
    rows = PAGE.split(f"| {header} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


RECORDS = blocks("json")
SAY, LISTEN = blocks("python")


@pytest.mark.parametrize("text", RECORDS, ids=lambda text: json.loads(text)["type"])
def test_every_record_is_one(text: str) -> None:
    record = json.loads(text)
    validator(SCHEMAS[record["type"]]).validate(record)
    if record["type"] in EVENT_TYPES:
        assert decode_event(record["subject"].encode(), text.encode()).id == record["id"]
    else:
        assert decode_fact(text.encode())[0] == record["subject"]


def test_every_type_is_shown() -> None:
    assert {json.loads(text)["type"] for text in RECORDS} == EVENT_TYPES.keys() | FACT_TYPES.keys()


def test_every_topic_is_listed() -> None:
    topics = Topics()
    changelogs = [topics.changelog("windows"), topics.changelog("tails")]
    assert table("topic") == [topics.log, topics.facts, topics.dead, *changelogs]


# -- programs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("topics"), kafka, None) as node:
        yield node


def at(node: LiveNode, program: str) -> list[str]:
    """The command that runs a program of the page against a node's topics."""
    assert BROKER in program
    topics = program.replace('"rewindow.', f'"{node.told["prefix"]}.')
    return [sys.executable, "-c", topics.replace(BROKER, node.told["kafka"])]


def test_the_programs_speak_and_listen(node: LiveNode) -> None:
    subprocess.run(at(node, SAY), check=True, timeout=60)
    url = f"{node.url}/v1/contexts/demo/tail"
    heard = until(lambda: len(httpx.get(url).json().get("messages", ())) == 2 and httpx.get(url))
    with subprocess.Popen(at(node, LISTEN), stdout=subprocess.PIPE, text=True) as listening:
        try:
            assert listening.stdout is not None
            told = (line.split(" ", 2) for line in listening.stdout)
            accepted = (data for name, kind, data in told if kind == "message.accepted.v1")
            facts = [json.loads(next(accepted)) for _ in range(2)]
        finally:
            listening.kill()
    assert [fact["message"] for fact in facts] == heard.json()["messages"]


def test_dead_letters_have_the_headers_that_the_page_lists(node: LiveNode) -> None:
    topics = Topics(node.told["prefix"])
    producer = Producer({"bootstrap.servers": node.told["kafka"]})
    producer.produce(topics.log, key=b"demo", value=b"hello", partition=0)
    producer.flush(30)
    reader = Consumer({"bootstrap.servers": node.told["kafka"], "group.id": "nobody's"})
    reader.assign([TopicPartition(topics.dead, 0, 0)])
    letter: Any = until(lambda: reader.poll(0.1))
    reader.close()
    assert (letter.key(), letter.value()) == (b"demo", b"hello")
    headers = dict(letter.headers())
    assert list(headers) == table("header")
    assert (headers["topic"], headers["partition"]) == (topics.log.encode(), b"0")
    assert b"not a CloudEvent" in headers["reason"]

"""What docs/operating.md lists is what there is, nothing missing and nothing too much; and its ACLs
are enough for those whom they are for."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pydantic import BaseModel

from api.app import make_api
from api.problems import STATUS
from rewindow.logs import LogSettings
from rewindow.settings import NodeSettings, UpSettings
from schemas.topics import Topics, topic_shapes
from streams import encodings
from streams.archive.status import ArchiveStatus
from streams.metrics import Metrics
from streams.store import Health
from tests.support.commands import rewindow
from tests.support.contexts import said
from tests.support.guarded import PASSWORD, GuardedKafka
from tests.support.live_node import LiveNode, own_database
from tests.support.memory_store import MemoryStore
from tests.support.servers import held, running
from tests.support.wait import until

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operating.md").read_text()
SOURCES = ("api", "rewindow", "schemas", "streams")

WITHOUT_SETTINGS = {"REWINDOW_API_KEY", "REWINDOW_DEMO"}
"""Variables that only commands read."""

Row = list[str]


def section(title: str) -> str:
    """The text below a heading."""
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    assert rest, f"there is no section {title}"
    return rest.partition("\n## ")[0]


def tables(title: str) -> list[list[Row]]:
    """The tables of a section: their rows, without the heads."""
    found = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    return [[_cells(line) for line in table.splitlines()[2:]] for table in found]


def _cells(line: str) -> Row:
    return [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)


# -- settings --------------------------------------------------------------------------------------


def variables(*kinds: type[BaseModel]) -> dict[str, str]:
    """Every variable with its default, as the page writes it."""
    return {
        f"REWINDOW_{name.upper()}": _written(field.default)
        for kind in kinds
        for name, field in kind.model_fields.items()
    }


def _written(default: Any) -> str:
    match default:
        case None:
            return "—"
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case _:
            return str(default)


def test_every_setting_is_there_with_its_default() -> None:
    of_a_node, of_up = ({row[0]: row[1] for row in table} for table in tables("Settings"))
    assert of_a_node == variables(NodeSettings, LogSettings)
    assert of_up == variables(UpSettings) | {"REWINDOW_DEMO": "false"}


def test_every_variable_that_is_named_is_read() -> None:
    named = set(re.findall(r"REWINDOW_[A-Z_]*[A-Z]", PAGE))
    read = set(variables(NodeSettings, LogSettings, UpSettings)) | WITHOUT_SETTINGS
    assert named == read
    code = "".join(file.read_text() for top in SOURCES for file in (ROOT / top).rglob("*.py"))
    assert set(re.findall(r"REWINDOW_[A-Z_]*[A-Z]", code)) >= WITHOUT_SETTINGS


# -- what it says about itself ---------------------------------------------------------------------


def test_every_metric_is_there() -> None:
    (table,) = tables("Metrics")
    exposed = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in Metrics().registry.collect()
    }
    assert {row[0]: row[1] for row in table} == exposed


def test_every_error_is_there() -> None:
    (table,) = tables("Errors")
    assert {row[0]: row[1] for row in table} == {code: str(int(s)) for code, s in STATUS.items()}


async def test_a_node_that_is_not_ready_answers_what_the_page_shows() -> None:
    (example,) = blocks("Health", "json")
    shown = json.loads(example)
    store = MemoryStore(encodings.measure)
    store.report = Health(tuple(shown["problems"]))
    transport = httpx.ASGITransport(make_api(store, encodings.measure))
    async with httpx.AsyncClient(transport=transport, base_url="http://memory") as client:
        answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, shown)


def test_every_note_about_the_archive_is_there() -> None:
    _, notes = tables("Health")
    said = ArchiveStatus(holes=7, differing=7, refused=7, problem="the archive stands still: …")
    assert [row[0] for row in notes if "has not moved" not in row[0]] == [
        note.replace("7", "N") for note in said.notes()
    ]


def test_every_topic_is_there_with_its_shape() -> None:
    (table,) = tables("Kafka")
    names = ("cleanup.policy", "retention.ms", "max.message.bytes", "message.timestamp.type")
    assert table == [
        [shape.name, *(shape.config.get(name, "") for name in names)]
        for shape in topic_shapes(Topics(), 1)
    ]


# -- who may do what -------------------------------------------------------------------------------

KINDS = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


def acls() -> Iterator[AclBinding]:
    """The ACLs that the lines of the page add."""
    (lines,) = blocks("Kafka", "sh")
    for line in lines.splitlines():
        if line.startswith("#"):
            continue
        command, *words = shlex.split(line)
        assert command == "$acls"
        options = list(zip(words[::2], words[1::2], strict=True))
        told = dict(options)
        pattern = told.pop("--resource-pattern-type", "literal")
        (kind,) = told.keys() & KINDS.keys()
        for option, operation in options:
            if option == "--operation":
                yield AclBinding(
                    KINDS[kind],
                    told[kind],
                    ResourcePatternType[pattern.upper()],
                    told["--allow-principal"],
                    "*",
                    OPERATIONS[operation],
                    AclPermissionType.ALLOW,
                )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    with (
        held(tmp_path_factory.mktemp("guarded")) as folder,
        running(GuardedKafka(folder, "node", "admin", "writer", "reader")) as broker,
    ):
        admin = AdminClient({"bootstrap.servers": broker.address})
        for added in admin.create_acls(list(acls())).values():
            added.result()
        yield broker


def credentials(user: str) -> dict[str, str]:
    return {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_sasl_username": user,
        "kafka_sasl_password": PASSWORD,
    }


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, broker: GuardedKafka, postgres_url: str
) -> Iterator[LiveNode]:
    """It is `node` to the broker."""
    folder = tmp_path_factory.mktemp("node")
    told = credentials("node") | {"prefix": "rewindow", "partitions": "1"}
    with (
        own_database(postgres_url) as postgres,
        running(LiveNode(folder, broker.guarded, postgres, **told)) as node,
    ):
        yield node


def produced(broker: GuardedKafka, user: str, topic: str, value: str, key: str = "c") -> str | None:
    """The error that a record gets, None where it is taken."""
    errors: list[str | None] = []
    producer = Producer(broker.client(user))
    producer.produce(
        topic, value, key, on_delivery=lambda error, _: errors.append(error and error.name())
    )
    assert producer.flush(20) == 0
    return errors[0]


def consumed(broker: GuardedKafka, user: str, topic: str) -> bytes:
    """The first record. Raises `KafkaException`."""
    settings = {"group.id": "report", "auto.offset.reset": "earliest"}
    consumer = Consumer(broker.client(user) | settings)
    try:
        consumer.subscribe([topic])
        record = until(lambda: consumer.poll(1.0), "a record")
        if (error := record.error()) is not None:
            raise KafkaException(error)
        return bytes(record.value() or b"")
    finally:
        consumer.close()


APPENDED = """{"specversion": "1.0", "id": "1", "source": "/tests", "subject": "c",
"type": "message.appended.v1",
"data": {"messages": [{"role": "user", "parts": [{"type": "text", "text": "hello"}]}]}}"""


def test_a_writer_may_append_and_a_reader_may_read_what_came_of_it(
    broker: GuardedKafka, node: LiveNode
) -> None:
    topics = node.settings.topics
    assert produced(broker, "writer", topics.log, APPENDED) is None
    assert b"hello" in consumed(broker, "reader", topics.facts)
    for user, topic in (("writer", topics.facts), ("reader", topics.log)):
        assert produced(broker, user, topic, APPENDED) == "TOPIC_AUTHORIZATION_FAILED"
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        consumed(broker, "reader", topics.log)


def test_a_node_may_do_all_that_it_does(node: LiveNode) -> None:
    """Until a message is archived, and that it is has come back through the log."""
    context = f"{node.url}/v1/contexts/n"
    assert httpx.put(context, json={}).status_code == 201
    assert httpx.post(f"{context}/messages", json={"message": said("a")}).status_code == 201
    until(lambda: httpx.get(context).json()["archived_seq"] == 1, "it is archived")
    verified = rewindow("verify", **node.environment)
    assert verified.returncode == 0, verified.stderr


def test_an_admin_may_rebuild_and_a_node_may_not(node: LiveNode) -> None:
    before = node.digests()
    assert node.end() == 0
    refused = rewindow("rebuild", **node.environment)
    assert refused.returncode == 1
    assert refused.stderr.startswith("rewindow: Kafka refuses, or is away: ")
    as_admin = node.environment | {"REWINDOW_KAFKA_SASL_USERNAME": "admin"}
    rebuilt = rewindow("rebuild", **as_admin)
    assert rebuilt.returncode == 0, rebuilt.stderr
    node.begin()
    assert node.digests() == before

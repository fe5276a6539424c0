"""The files for Docker, held against the code that they start. Docker itself is not needed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rewindow.embedded.kafka import _PROPERTIES, BATCH_BYTES_MAX
from rewindow.settings import NodeSettings

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NODES = ("node-1", "node-2")
AS_EMBEDDED = (
    "auto.create.topics.enable",
    "broker.heartbeat.interval.ms",
    "broker.session.timeout.ms",
    "group.initial.rebalance.delay.ms",
    "group.min.session.timeout.ms",
    "message.max.bytes",
    "replica.fetch.max.bytes",
    "replica.fetch.response.max.bytes",
    "transaction.max.timeout.ms",
)


def variables(text: str, prefix: str) -> dict[str, str]:
    """What stands in a part of the compose file as `NAME: "value"`."""
    return dict(re.findall(rf'^ +({prefix}[A-Z0-9_]+): "(.*)"$', text, re.MULTILINE))


def service(name: str) -> str:
    """The lines of one service, without what it takes over from a template."""
    found = re.search(rf"^  {name}:\n((?:    .*\n)+)", COMPOSE, re.MULTILINE)
    assert found is not None, f"there is no service {name}"
    return found.group(1)


def told(node: str) -> dict[str, str]:
    """The environment of a node: its image's, the template's, its own."""
    image = dict(re.findall(r"\b(REWINDOW_[A-Z0-9_]+)=(\S+)", DOCKERFILE))
    template = COMPOSE[: COMPOSE.index("\nservices:")]
    return image | variables(template, "REWINDOW_") | variables(service(node), "REWINDOW_")


def test_there_is_no_variable_that_a_node_does_not_know() -> None:
    known = {f"REWINDOW_{name.upper()}" for name in NodeSettings.model_fields}
    written = set(re.findall(r"\bREWINDOW_[A-Z0-9_]+", COMPOSE + DOCKERFILE))
    assert written - known == set()
    assert written == set().union(*(told(node) for node in NODES)), "each is read below"


@pytest.mark.parametrize("node", NODES)
def test_a_node_understands_what_it_is_told(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NodeSettings.model_fields:
        monkeypatch.delenv(f"REWINDOW_{name.upper()}", raising=False)
    for name, value in told(node).items():
        monkeypatch.setenv(name, value)
    settings = NodeSettings()
    assert settings.node_id == node, "two of one name would take the place from each other"
    assert settings.host == "0.0.0.0", "it is asked from outside of its container"
    assert f":{settings.port}" in service(node)
    assert f"{node}:{settings.data}" in service(node), "its disk outlives the container"
    assert settings.replication == settings.kafka.count(":9092") == 3


def test_the_brokers_are_set_as_the_embedded_one_is() -> None:
    embedded = dict(line.split("=", 1) for line in _PROPERTIES.splitlines())
    computed = {"{batch}": str(BATCH_BYTES_MAX), "{fetch}": str(BATCH_BYTES_MAX + (1 << 20))}
    composed = variables(COMPOSE, "KAFKA_")
    names = {name: f"KAFKA_{name.upper().replace('.', '_')}" for name in AS_EMBEDDED}
    assert {name: composed[variable] for name, variable in names.items()} == {
        name: computed.get(embedded[name], embedded[name]) for name in AS_EMBEDDED
    }


def test_a_write_that_was_answered_is_on_two_brokers() -> None:
    composed = variables(COMPOSE, "KAFKA_")
    assert composed["KAFKA_MIN_INSYNC_REPLICAS"] == "2"
    assert composed["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == "2"
    factors = {v for k, v in composed.items() if k.endswith("REPLICATION_FACTOR")}
    assert factors == {"3"}


def test_prometheus_asks_every_node_and_grafana_asks_prometheus() -> None:
    prometheus = (ROOT / "deploy" / "prometheus.yml").read_text()
    assert re.findall(r'"(node-[0-9]+):4000"', prometheus) == list(NODES)
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    source = (provisioning / "datasources" / "prometheus.yml").read_text()
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/rewindow.json").read_text())
    (uid,) = re.findall(r"^ +uid: (\S+)$", source, re.MULTILINE)
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {uid}
    shown = {name for panel in dashboard["panels"] for name in metrics_of(panel)}
    written = set(re.findall(r"rewindow_\w+", (ROOT / "docs" / "operating.md").read_text()))
    assert shown <= written, "a node counts what is shown"


def metrics_of(panel: dict[str, Any]) -> set[str]:
    found = re.findall(r"rewindow_\w+", " ".join(target["expr"] for target in panel["targets"]))
    assert found, f"{panel['title']} shows nothing"
    return {name.removesuffix("_bucket") for name in found}


def test_the_image_holds_every_package_and_runs_as_nobody_in_particular() -> None:
    packages = re.findall(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in re.findall(r'"(\w+)"', packages[0]):
        assert f"COPY {name} {name}\n" in DOCKERFILE
        assert f"!{name}" in ignored
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")

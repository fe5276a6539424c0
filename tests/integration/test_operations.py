"""What an operator types: verify and rebuild, over a deployment that has an archive and trims."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

import httpx
import pytest
from confluent_kafka import Producer

from schemas.topics import TAILS
from tests.support.commands import rewindow
from tests.support.deployment import Deployment
from tests.support.fold import append
from tests.support.history import history
from tests.support.live_node import LiveNode, live_node
from tests.support.wait import until
from tests.support.writers import Writers

HALF_REBUILD = Path(__file__).parents[1] / "support" / "half_rebuild.py"
PARTITIONS = 2


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, postgres_url: str
) -> Iterator[LiveNode]:
    """It has folded, archived and trimmed a history."""
    folder = tmp_path_factory.mktemp("operations")
    told = {"partitions": str(PARTITIONS), "tail_keep": "2"}
    with live_node(folder, kafka, postgres_url, **told) as node:
        deployment = Deployment(kafka, node.settings.prefix, folder, partitions=PARTITIONS)
        deployment.write(*history())
        until(lambda: archived(node), "everything is archived")
        yield node


def archived(node: LiveNode) -> bool:
    with httpx.Client(base_url=node.url) as client:
        contexts = client.get("/v1/contexts").json()["contexts"]
    return len(contexts) == 3 and all(c["archived_seq"] == c["last_seq"] for c in contexts)


def lines(out: str, place: str) -> list[str]:
    """What `verify` says of a place, its judgement alone."""
    return [line.rpartition(": ")[2] for line in out.splitlines() if line.split()[2] == place]


def test_verify_proves_every_partition(node: LiveNode) -> None:
    verified = rewindow("verify", **node.environment | {"REWINDOW_PARTITIONS": "7"})
    assert verified.returncode == 0, verified.stderr
    for place in ("tables", "changelogs"):
        assert lines(verified.stdout, place) == ["as the log says"] * PARTITIONS
    as_json = rewindow("verify", "--json", **node.environment).stdout.splitlines()
    found = [json.loads(line) for line in as_json]
    assert [one["found"] for one in found] == [one["expected"] for one in found]
    assert sum(one["found"]["contexts"] for one in found if one["place"] == "tables") == 3


def test_no_rebuild_while_a_node_runs(node: LiveNode, tmp_path: Path) -> None:
    before = node.digests()
    told = {"REWINDOW_SESSION_TIMEOUT_S": "1"}
    refused = rewindow("rebuild", cwd=tmp_path, **node.environment | told)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "rewindow: a node of this deployment is running; stop every node, then rebuild again\n"
    )
    assert node.digests() == before
    assert not (tmp_path / ".rewindow").exists(), "nothing was begun"


def test_a_foreign_row_is_shown(node: LiveNode) -> None:
    """In the changelog only: the node does not read what it writes."""
    producer = Producer(node.settings.librdkafka())
    producer.produce(node.settings.topics.changelog(TAILS), b"foreign", b"stranger", 0)
    assert producer.flush(10) == 0
    verified = rewindow("verify", **node.environment)
    assert verified.returncode == 1
    assert verified.stderr.splitlines()[-1] == (
        "rewindow: the state is not what the log says; `rewindow rebuild` makes it anew"
    )
    assert lines(verified.stdout, "tables") == ["as the log says"] * PARTITIONS
    differs, fine = lines(verified.stdout, "changelogs")
    assert differs.startswith("DIFFERS in rows, the log says ")
    assert fine == "as the log says"


def test_a_rebuild_that_is_killed_stops_every_node_and_another_one_mends_it(
    node: LiveNode, tmp_path: Path
) -> None:
    """And what the first one has folded is not folded again."""
    kept = {"REWINDOW_DATA": str(tmp_path / "kept")}
    before = node.digests()
    assert node.end(SIGTERM) == 0
    half = [sys.executable, str(HALF_REBUILD)]
    killed = subprocess.run(half, env={**os.environ, **node.environment, **kept}, check=False)
    assert killed.returncode == -SIGKILL

    node.start()
    assert node.wait_ended() == 1
    last = node.said().splitlines()[-1]
    assert last.startswith("rewindow: the tables of partition ")
    assert last.endswith(": a rebuild was interrupted; run `rewindow rebuild` again")
    assert "Traceback" not in node.said()

    rebuilt = rewindow("rebuild", "--json", **node.environment | kept)
    assert rebuilt.returncode == 0, rebuilt.stderr
    done = [json.loads(line) for line in rebuilt.stdout.splitlines()]
    assert sorted(one["partition"] for one in done) == list(range(PARTITIONS))
    assert min(one["events"] for one in done) == 0
    assert not (tmp_path / "kept").exists(), "nothing is left behind"
    node.begin()
    assert node.digests() == before
    assert rewindow("verify", **node.environment).returncode == 0


def test_a_log_that_was_made_anew_stops_every_node_and_a_rebuild_mends_it(
    kafka: str, tmp_path: Path
) -> None:
    """On a disk that knows the old one, and on an empty one."""
    with live_node(tmp_path, kafka, None, partitions="1") as node:
        deployment = Deployment(kafka, node.settings.prefix, tmp_path, partitions=1)
        deployment.write(*history())
        until(lambda: folded(node, deployment), "it has folded the old one")
        assert node.end(SIGTERM) == 0
        deployment.make_log_anew(append(context="new"), *history(), append(context="new"))

        for _ in range(2):
            node.start()
            assert node.wait_ended() == 1
            assert node.said().splitlines()[-1] == (
                f"rewindow: the tables of partition 0 come from another {deployment.topics.log}: "
                "it was deleted and made anew since; run `rewindow rebuild`"
            )
            assert "Traceback" not in node.said()
            shutil.rmtree(node.disk / "tables")

        kept = {"REWINDOW_DATA": str(tmp_path / "kept")}
        rebuilt = rewindow("rebuild", **node.environment | kept)
        assert rebuilt.returncode == 0, rebuilt.stderr
        node.begin()
        until(lambda: folded(node, deployment), "it has folded the new one")
        assert node.digests() == [deployment.expected().digest]
        assert rewindow("verify", **node.environment).returncode == 0


def folded(node: LiveNode, deployment: Deployment) -> bool:
    (digest,) = node.digests()
    return digest.position + 1 == deployment.end()


async def test_verify_proves_a_node_that_is_written_to_and_does_not_hold_it_up(
    node: LiveNode,
) -> None:
    writers = Writers(node.url, [f"busy {n}" for n in range(4)], per_context=2)
    running = asyncio.create_task(writers.run())
    try:
        await writers.reach(50)
        before = len(writers.promises)
        verified = await asyncio.to_thread(rewindow, "verify", **node.environment)
        assert len(writers.promises) > before, "it was written to meanwhile"
    finally:
        writers.finish()
        await running
    assert verified.returncode == 0, verified.stderr
    for place in ("tables", "changelogs"):
        assert lines(verified.stdout, place) == ["as the log says"] * PARTITIONS
    assert writers.surprises == []

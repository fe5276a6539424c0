"""Fetched once; without a repository to ask, one sentence."""

from pathlib import Path

import pytest

from rewindow.embedded.jars import class_path
from rewindow.errors import CannotStart

NOBODY_THERE = {"nobody": "http://127.0.0.1:1/maven"}


def test_what_can_not_be_fetched_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotStart) as failed:
        class_path(lambda _said: None, cache=tmp_path / "cache", repositories=NOBODY_THERE)
    sentence = str(failed.value)
    assert sentence.startswith("Kafka's jars can't be fetched (")
    assert "\n" not in sentence
    assert "start again" in sentence
    assert list((tmp_path / "cache").iterdir()) == [], "nothing half done stays behind"


def test_a_cache_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="Not a directory"):
        class_path(lambda _said: None, cache=tmp_path / "file" / "cache")


def test_what_was_fetched_is_used_without_asking_anybody() -> None:
    class_path(lambda _said: None)
    said: list[str] = []
    again = class_path(said.append, repositories=NOBODY_THERE)
    assert said == []
    kafka, binding = (Path(part).parent for part in again.split(":"))
    assert (kafka / "kafka_2.13-4.1.0.jar").is_file()
    assert [jar.name for jar in binding.iterdir()] == ["log4j-slf4j-impl-2.24.3.jar"]

"""A deployment for each test, over the broker that all share."""

from pathlib import Path

import pytest

from tests.support.deployment import Deployment


@pytest.fixture
def deployment(kafka: str, prefix: str, tmp_path: Path) -> Deployment:
    """Topics of one partition, empty."""
    return Deployment(kafka, prefix, tmp_path / "node", partitions=1).prepare()

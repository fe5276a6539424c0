"""A stop in the middle of a flush, for as long as a test wants to look around."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Literal

import pytest

from streams.tables.lane import Outbound
from streams.tables.overlay import Writes
from streams.tables.transaction import TransactionWriter

PATIENCE_S = 20


class Gate:
    """Holds every commit up while it is shut, after its records went out (`produced`) or after it
    was confirmed (`committed`)."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, where: Literal["produced", "committed"]
    ) -> None:
        self.waiting = threading.Event()
        self._open = threading.Event()
        commit, end = TransactionWriter.commit, TransactionWriter._end

        def ends(writer: TransactionWriter, deadline: float) -> None:
            writer._producer.flush(PATIENCE_S)
            self._pass()
            end(writer, deadline)

        def commits(
            writer: TransactionWriter, rows: Mapping[str, Writes], outbound: Sequence[Outbound]
        ) -> dict[str, int]:
            last = commit(writer, rows, outbound)
            self._pass()
            return last

        if where == "produced":
            monkeypatch.setattr(TransactionWriter, "_end", ends)
        else:
            monkeypatch.setattr(TransactionWriter, "commit", commits)

    def _pass(self) -> None:
        self.waiting.set()
        assert self._open.wait(PATIENCE_S)

    async def reached(self) -> None:
        """Wait until a commit stands before it."""
        assert await asyncio.to_thread(self.waiting.wait, PATIENCE_S)

    def open(self) -> None:
        """Let this commit and all that come after it pass."""
        self._open.set()

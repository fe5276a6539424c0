"""A Faust table that is written by the journal and by nobody else."""

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import faust
from faust.types import TP
from rocksdict import Rdict

from streams import faust_seams

OnOwned = Callable[[set[int]], Awaitable[None]]


class JournaledTable(faust.Table[bytes, bytes]):
    """Faust assigns its partitions, names its changelog and keeps its RocksDB files.

    `on_owned` is awaited with the partitions of each assignment, before Faust's recovery looks.
    """

    on_owned: OnOwned | None = None

    @property
    def changelog(self) -> str:
        """The name of the changelog topic."""
        return str(self.changelog_topic_name)

    @property
    def offset_key(self) -> bytes:
        """Where RocksDB keeps the changelog offset that it has reached."""
        return faust_seams.offset_key(self)

    def db(self, partition: int) -> Rdict:
        """The RocksDB of one partition."""
        return faust_seams.open_partition(self, partition)

    def owned(self) -> set[int]:
        """The partitions that the group has given to this node."""
        tps = self.app.assignor.assigned_actives()
        return {tp.partition for tp in tps if tp.topic == self.changelog}

    def owners(self) -> dict[str, list[int]]:
        """The partitions of every node of the group, by its address."""
        nodes = self.app.router.tables_metadata()
        return {str(url): list(topics.get(self.changelog, ())) for url, topics in nodes.items()}

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        """Close the RocksDBs of what went, open the others as Faust does, and hand them over."""
        gone = (tp.partition for tp in revoked if tp.topic == self.changelog)
        faust_seams.close_partitions(self, gone)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        if self.on_owned is not None:
            await self.on_owned(self.owned())

    async def on_stop(self) -> None:
        """Close every RocksDB."""
        await super().on_stop()
        faust_seams.close_partitions(self, range(self.partitions or 0))

    def apply_changelog_batch(self, _batch: Any) -> NoReturn:
        """Faust's recovery would write here, whatever has been written since. There is none."""
        raise TypeError(f"table {self.name} is restored by the journal, not by Faust's recovery")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError(f"table {self.name} is written by the journal, in batches")

    def __delitem__(self, key: Any) -> NoReturn:
        raise TypeError(f"table {self.name} is written by the journal, in batches")

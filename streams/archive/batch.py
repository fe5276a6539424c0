"""What one transaction of the archive is to bring: messages and undos, read and not written yet."""

from collections.abc import Collection

from streams.archive.row import ArchiveRow, ArchiveUndo


class Batch:
    """`rows` and `undos` in the order of the facts; `body_bytes` of the rows, which belong to
    `contexts`."""

    def __init__(self) -> None:
        self.rows: list[ArchiveRow] = []
        self.undos: list[ArchiveUndo] = []
        self.body_bytes = 0
        self.contexts: set[str] = set()

    def __len__(self) -> int:
        return len(self.rows) + len(self.undos)

    def add(self, one: ArchiveRow | ArchiveUndo) -> None:
        """Behind all others."""
        if isinstance(one, ArchiveRow):
            self.rows.append(one)
            self.body_bytes += len(one.body)
            self.contexts.add(one.context_id)
        else:
            self.undos.append(one)

    def only(self, partitions: Collection[int]) -> "Batch":
        """Another one, with what is of these partitions."""
        kept = Batch()
        for row in self.rows:
            if row.partition in partitions:
                kept.add(row)
        kept.undos = [undo for undo in self.undos if undo.partition in partitions]
        return kept

"""Messages into Postgres: by batches, each message once, with the position they were read from."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import psycopg
import structlog
from msgspec import Struct
from msgspec.structs import replace
from psycopg.errors import ProgramLimitExceeded, UniqueViolation

from streams.archive.connection import conninfo_of, reason_of
from streams.archive.copy import copied
from streams.archive.errors import ArchiveUnavailable
from streams.archive.migrations import migrate
from streams.archive.queries import QUERIES
from streams.archive.row import ArchiveRow, ArchiveUndo

log = structlog.get_logger()

RETRY_AFTER_S: Final = 5
Unstorable: Final = (psycopg.DataError, ProgramLimitExceeded)
"""What Postgres says of a row that it will never take, however often it is offered."""

Connection = psycopg.Connection[tuple[Any, ...]]


class Hole(NamedTuple):
    """Messages `from_seq` to `to_seq` of a context are missing below some that are there; where
    `to_seq` is None, they were, and the watermark has moved on to `from_seq - 1`."""

    partition: int
    context_id: str
    from_seq: int
    to_seq: int | None


class Written(Struct, frozen=True):
    """What a batch came to: messages `attempted`, of which `inserted` were not there before, with
    the bytes of their bodies. `watermarks`: for each partition the contexts touched, with the seq
    up to which each is complete. `differing`, `refused` and `new_holes` were logged as alarms."""

    attempted: int = 0
    inserted: int = 0
    bytes_attempted: int = 0
    bytes_inserted: int = 0
    tokens_inserted: int = 0
    watermarks: dict[int, dict[str, int]] = {}
    differing: int = 0
    refused: int = 0
    new_holes: int = 0


class _Inserted(NamedTuple):
    messages: int
    bytes: int
    tokens: int
    differing: int = 0


_Insert = Callable[[Connection, Sequence[ArchiveRow]], _Inserted]
"""Rows -> what of them was not there before."""


class ArchiveWriter:
    """One connection, made when it is needed, used by one thread.

    Every method raises `ArchiveUnavailable` when Postgres does not answer (what was under way is
    undone then, or done without our knowing), and `ArchiveUnfit` when it can't be used at all.
    """

    def __init__(self, url: str, topic: str) -> None:
        self._conninfo = conninfo_of(url, "rewindow archive")
        self._topic = topic
        self._connection: Connection | None = None
        self._expects_new = True

    def connect(self) -> None:
        """Connect and migrate, where that is not done yet."""
        with self._answering():
            pass

    def close(self) -> None:
        """Hang up; the next call connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def write(
        self,
        rows: Sequence[ArchiveRow],
        positions: Mapping[int, int],
        undos: Sequence[ArchiveUndo] = (),
    ) -> Written:
        """In one transaction, which nobody else's batch of these partitions overlaps:

        1. insert the messages that are not there yet;
        2. compare those that are: another body under the same seq is an alarm, the first one stays;
        3. move the watermarks;
        4. note where messages are missing;
        5. insert the undos that are not there yet;
        6. save the facts positions: nothing of what lies below them is needed again.

        As a rule nothing of a batch is there, and a COPY into the table does for 1 and 2. Where
        that is wrong, the whole transaction is undone and made by way of the staging table; so are
        the batches after it, until one was new altogether.
        """
        with self._answering() as connection:
            if self._expects_new:
                with suppress(UniqueViolation, *Unstorable):
                    return self._write(connection, rows, positions, undos, _insert_new)
            written = self._write_aside(connection, rows, positions, undos)
        self._expects_new = written.inserted == len(rows)
        return written

    def positions(self, partitions: Collection[int]) -> dict[int, int]:
        """For each partition of the facts that was archived before: the offset to go on from."""
        asked = {"topic": self._topic, "partitions": list(partitions)}
        with self._answering() as connection:
            return dict(connection.execute(QUERIES["positions"], asked).fetchall())

    def rewind(self, partition: int, position: int) -> None:
        """Set a position back, as nothing else does: the facts topic was made anew."""
        asked = {"topic": self._topic, "partition": partition, "position": position}
        with self._answering() as connection:
            connection.execute(QUERIES["rewind"], asked)

    def holes(self, partitions: Collection[int], *, after: str, limit: int) -> list[Hole]:
        """The first hole of each context that has one, by context id, from beyond `after`."""
        asked = {"partitions": list(partitions), "after": after, "limit": limit}
        with self._answering() as connection:
            rows = connection.execute(QUERIES["holes"], asked).fetchall()
        return [Hole(*row) for row in rows]

    def close_holes(self, context_ids: Collection[str]) -> None:
        """Forget the holes of these contexts that are filled."""
        with self._answering() as connection:
            connection.execute(QUERIES["close_holes"], {"context_ids": list(context_ids)})

    def count_holes(self, partitions: Collection[int]) -> int:
        """How many contexts of these partitions have a hole."""
        with self._answering() as connection:
            asked = {"partitions": list(partitions)}
            row = connection.execute(QUERIES["count_holes"], asked).fetchone()
        return row[0] if row else 0

    # -- the connection -------------------------------------------------------------------------

    @contextmanager
    def _answering(self) -> Iterator[Connection]:
        try:
            if self._connection is None:
                self._connection = self._connected()
            yield self._connection
        except psycopg.Error as exc:
            self.close()
            raise ArchiveUnavailable(
                f"Postgres does not take the archive's work ({reason_of(exc)})", RETRY_AFTER_S
            ) from exc

    def _connected(self) -> Connection:
        connection = psycopg.connect(self._conninfo, autocommit=True)
        try:
            migrate(connection)
            # Only now: a migration of a large table may take longer than a statement should.
            connection.execute(QUERIES["session"])
            connection.execute(QUERIES["make_staged"])
        except BaseException:
            connection.close()
            raise
        return connection

    # -- one batch ------------------------------------------------------------------------------

    def _write_aside(
        self,
        connection: Connection,
        rows: Sequence[ArchiveRow],
        positions: Mapping[int, int],
        undos: Sequence[ArchiveUndo],
    ) -> Written:
        """By way of the staging table: without what is there already, or is refused."""
        try:
            return self._write(connection, rows, positions, undos, _insert_missing)
        except Unstorable:
            takeable = [row for row in rows if self._takes(connection, row)]
            written = self._write(connection, takeable, positions, undos, _insert_missing)
        return replace(
            written,
            attempted=len(rows),
            bytes_attempted=_bytes_of(rows),
            refused=len(rows) - len(takeable),
        )

    def _write(
        self,
        connection: Connection,
        rows: Sequence[ArchiveRow],
        positions: Mapping[int, int],
        undos: Sequence[ArchiveUndo],
        insert: _Insert,
    ) -> Written:
        written = Written()
        partitions = sorted({row.partition for row in rows} | positions.keys())
        asked = {"topic": self._topic, "partitions": partitions}
        with connection.transaction():
            connection.execute(QUERIES["lock_partitions"], asked)
            if rows:
                inserted = insert(connection, rows)
                watermarks, new_holes = _advanced(connection, rows)
                written = Written(
                    attempted=len(rows),
                    inserted=inserted.messages,
                    bytes_attempted=_bytes_of(rows),
                    bytes_inserted=inserted.bytes,
                    tokens_inserted=inserted.tokens,
                    watermarks=watermarks,
                    differing=inserted.differing,
                    new_holes=new_holes,
                )
            if undos:
                _insert_undos(connection, undos)
            if positions:
                self._save(connection, positions)
        return written

    def _save(self, connection: Connection, positions: Mapping[int, int]) -> None:
        asked = {
            "topic": self._topic,
            "partitions": list(positions),
            "positions": list(positions.values()),
        }
        connection.execute(QUERIES["save_positions"], asked)

    def _takes(self, connection: Connection, row: ArchiveRow) -> bool:
        """Whether Postgres takes this row; if not, an alarm, and the batch goes on without it."""
        try:
            with connection.transaction(force_rollback=True):
                _insert_missing(connection, [row])
        except Unstorable as exc:
            log.error(
                "Postgres refuses a message for good; its context's watermark stays below it",
                context_id=row.context_id,
                seq=row.seq,
                why=reason_of(exc),
            )
            return False
        return True


def _insert_new(connection: Connection, rows: Sequence[ArchiveRow]) -> _Inserted:
    """All of them, for half of what the other way costs Postgres. Raises `UniqueViolation` where
    one of them is there already."""
    _copy(connection, "copy_new", rows)
    return _Inserted(len(rows), _bytes_of(rows), sum(row.token_count for row in rows))


def _insert_missing(connection: Connection, rows: Sequence[ArchiveRow]) -> _Inserted:
    """Those that are not there yet, and an alarm for each one of which another body is."""
    _copy(connection, "copy_staged", rows)
    row = connection.execute(QUERIES["insert_staged"]).fetchone()
    assert row is not None, "an aggregate always has a row"
    # A sum of bigints is a numeric.
    messages, size, tokens = (int(number) for number in row)
    differing = 0 if messages == len(rows) else _alarmed_of_differing(connection)
    return _Inserted(messages, size, tokens, differing)


def _copy(connection: Connection, query: str, rows: Sequence[ArchiveRow]) -> None:
    with connection.cursor() as cursor, cursor.copy(QUERIES[query]) as copy:
        for piece in copied(rows):
            copy.write(piece)


def _insert_undos(connection: Connection, undos: Sequence[ArchiveUndo]) -> None:
    asked = {
        "context_ids": [undo.context_id for undo in undos],
        "versions": [undo.version for undo in undos],
        "from_seqs": [undo.from_seq for undo in undos],
        "to_seqs": [undo.to_seq for undo in undos],
        "undone": [undo.undone for undo in undos],
        "event_ids": [undo.event_id for undo in undos],
    }
    connection.execute(QUERIES["insert_undos"], asked)


def _bytes_of(rows: Sequence[ArchiveRow]) -> int:
    return sum(len(row.body) for row in rows)


def _alarmed_of_differing(connection: Connection) -> int:
    differing = connection.execute(QUERIES["differing"]).fetchall()
    for context_id, seq in differing:
        log.error(
            "the archive holds another body under this seq; the first one stays",
            context_id=context_id,
            seq=seq,
        )
    return len(differing)


def _advanced(
    connection: Connection, rows: Sequence[ArchiveRow]
) -> tuple[dict[int, dict[str, int]], int]:
    """The watermarks by partition, and how many contexts were found to have a hole just now."""
    partition_of: dict[str, int] = {}
    tops: dict[str, int] = {}
    for row in rows:
        partition_of[row.context_id] = row.partition
        tops[row.context_id] = max(row.seq, tops.get(row.context_id, 0))
    watermarks: dict[int, dict[str, int]] = {}
    holes: list[str] = []
    touched = {"context_ids": list(tops), "top_seqs": list(tops.values())}
    for context_id, archived_seq, top_seq in connection.execute(QUERIES["advance"], touched):
        watermarks.setdefault(partition_of[context_id], {})[context_id] = archived_seq
        if top_seq > archived_seq:
            holes.append(context_id)
    if not holes:
        return watermarks, 0
    asked = {"context_ids": holes, "partitions": [partition_of[name] for name in holes]}
    new_holes = connection.execute(QUERIES["note_holes"], asked).fetchall()
    for (context_id,) in new_holes:
        partition = partition_of[context_id]
        log.error(
            "messages are missing from the facts; the watermark waits until they are healed",
            context_id=context_id,
            partition=partition,
            missing_from_seq=watermarks[partition][context_id] + 1,
        )
    return watermarks, len(new_holes)

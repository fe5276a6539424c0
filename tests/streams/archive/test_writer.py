"""Each message once, byte for byte; watermarks without holes; positions that never go back."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from streams.archive.errors import ArchiveUnavailable, ArchiveUnfit
from streams.archive.row import ArchiveRow, ArchiveUndo, row_of
from streams.archive.writer import ArchiveWriter, Hole
from tests.support.wait import until

TOPIC = "t.facts"
OURS = (
    "select pid from pg_stat_activity "
    "where application_name = 'rewindow archive' and datname = current_database()"
)

NASTY = (
    r'[{"type":"text","text":"NUL \u0000, escaped \\u0000, pair \ud83d\ude00, slash \/"}]',
    '[{"type":"text","text":"ünï 😀 \u2028 \ufeff \x7f ‮rtl"}]',
    '[{"type":"n","n":1e999999,"m":-0,"k":123456789012345678901234567890.1000}]',
    '[{"b":1,"a":2,"b":3,"type":"twice"}]',
    '[ {  "type" :\n\t"spaces" , "é":{}} ]',
    r'[{"type":"tab\t","text":"back\\slash \"quoted\" \n"}]',
)


def body_of(seq: int, parts: str = "[]", role: str = "user") -> bytes:
    return (
        f'{{"version":{seq},"token_count":3,"inserted_at":"2026-11-23T10:00:00.123Z",'
        f'"role":{json.dumps(role)},"parts":{parts},"metadata":{{}},"seq":{seq}}}'
    ).encode()


def row(context: str, seq: int, parts: str = "[]", *, partition: int = 0) -> ArchiveRow:
    return row_of(partition, context, body_of(seq, parts), f"e-{seq}")


@pytest.fixture
def writer(database: str) -> Iterator[ArchiveWriter]:
    writer = ArchiveWriter(database, TOPIC)
    writer.connect()
    yield writer
    writer.close()


@pytest.fixture
def sql(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def stored(sql: psycopg.Connection[Any]) -> dict[tuple[str, int], bytes]:
    rows = sql.execute("select context_id, seq, body::text from messages order by 1, 2")
    return {(context, seq): body.encode() for context, seq, body in rows}


def test_bodies_are_kept_byte_for_byte(writer: ArchiveWriter, sql: psycopg.Connection[Any]) -> None:
    rows = [row("nästy 'id' \\ \"x\"", seq, parts) for seq, parts in enumerate(NASTY, 1)]
    written = writer.write(rows, {})
    assert written.inserted == len(rows)
    assert written.watermarks == {0: {rows[0].context_id: len(rows)}}
    assert stored(sql) == {(r.context_id, r.seq): r.body for r in rows}


def test_every_column_says_what_the_message_says(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    writer.write([row_of(0, "c", body_of(1, role="to\0ol"), None)], {})
    found = sql.execute(
        "select version, role, token_count, event_id, "
        "to_char(inserted_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') from messages"
    )
    assert found.fetchall() == [(1, "to\ufffdol", 3, None, "2026-11-23 10:00:00.123")]


def test_the_last_moment_of_the_calendar_is_taken(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
    writer.write([replace(row("c", 1), inserted_at=last)], {})
    assert sql.execute("select inserted_at from messages").fetchall() == [(last,)]


ids = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1)
texts = st.text(st.characters(exclude_categories=("Cs",)))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_text_comes_back(
    writer: ArchiveWriter, sql: psycopg.Connection[Any], data: st.DataObject
) -> None:
    contexts = data.draw(st.lists(ids, min_size=1, max_size=5, unique=True))
    as_ascii = data.draw(st.booleans())
    rows = []
    for context in contexts:
        parts = json.dumps([{"type": data.draw(texts)}], ensure_ascii=as_ascii)
        rows.append(row_of(0, context, body_of(1, parts, data.draw(texts)), data.draw(ids)))
    sql.execute("truncate messages, archived_contexts")
    assert writer.write(rows, {}).inserted == len(rows)
    assert stored(sql) == {(r.context_id, 1): r.body for r in rows}


def test_the_same_batch_again_changes_nothing(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    rows = [row("c", seq) for seq in (1, 2, 3)]
    writer.write(rows, {0: 5})
    with capture_logs() as logs:
        again = writer.write([*rows, *rows, row("c", 4)], {0: 5})
    assert (again.inserted, again.differing) == (1, 0)
    assert again.watermarks == {0: {"c": 4}}
    assert logs == []
    assert len(stored(sql)) == 4


def test_a_batch_counts_what_went_in_whether_all_of_it_did_or_not(writer: ArchiveWriter) -> None:
    def counts(*seqs: int) -> tuple[int, int, int, int, int]:
        written = writer.write([row("c", seq, NASTY[1]) for seq in seqs], {})
        return (
            *(written.attempted, written.bytes_attempted),
            *(written.inserted, written.bytes_inserted, written.tokens_inserted),
        )

    size = len(body_of(1, NASTY[1]))
    assert counts(1, 2, 3) == (3, 3 * size, 3, 3 * size, 9)
    assert counts(4, 5, 3) == (3, 3 * size, 2, 2 * size, 6), "one of them is there already"
    assert counts(4, 5) == (2, 2 * size, 0, 0, 0)
    assert counts(6) == (1, size, 1, size, 3)


def test_an_archive_that_is_written_again_upsets_postgres_once(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    """Each batch that it has to undo is an error in its log."""

    def undone() -> int:
        """By the writer's connections: it counts when they have ended."""
        writer.close()
        until(lambda: not sql.execute(OURS).fetchall(), "the writer's connection has ended")
        found = sql.execute(
            "select xact_rollback from pg_stat_database where datname = current_database()"
        ).fetchone()
        assert found is not None
        return int(found[0])

    batches = [[row("c", seq) for seq in range(first, first + 5)] for first in (1, 6, 11)]
    for batch in batches:
        writer.write(batch, {})
    before = undone()
    for batch in batches:
        writer.write(batch, {})
    assert undone() == before + 1
    for first in (16, 21, 26):
        writer.write([row("c", seq) for seq in range(first, first + 5)], {})
    assert undone() == before + 1
    writer.write([row("c", 30), row("c", 31)], {})
    assert undone() == before + 2, "what is new goes straight again"


def test_another_body_under_the_same_seq_is_an_alarm_and_the_first_stays(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    writer.write([row("c", 1)], {})
    with capture_logs() as logs:
        written = writer.write([row("c", 1, '[{"type":"other"}]'), row("c", 2)], {})
    assert (written.inserted, written.differing) == (1, 1)
    assert [(e["log_level"], e["context_id"], e["seq"]) for e in logs] == [("error", "c", 1)]
    assert stored(sql)["c", 1] == body_of(1)


def test_white_space_is_a_difference_too(writer: ArchiveWriter) -> None:
    writer.write([row("c", 1)], {})
    assert writer.write([row("c", 1, "[ ]")], {}).differing == 1


def test_the_watermark_waits_below_a_hole_and_then_goes_all_the_way(
    writer: ArchiveWriter,
) -> None:
    with capture_logs() as logs:
        first = writer.write([row("c", seq, partition=3) for seq in (1, 2, 5, 6)], {})
    assert (first.watermarks, first.new_holes) == ({3: {"c": 2}}, 1)
    assert [(e["log_level"], e["missing_from_seq"]) for e in logs] == [("error", 3)]
    second = writer.write([row("c", 9, partition=3)], {})
    assert (second.watermarks, second.new_holes) == ({3: {"c": 2}}, 0)
    assert writer.holes([3], after="", limit=10) == [Hole(3, "c", 3, 4)]
    assert writer.holes([0, 1], after="", limit=10) == []

    third = writer.write([row("c", seq, partition=3) for seq in (3, 4)], {})
    assert third.watermarks == {3: {"c": 6}}
    writer.close_holes(["c"])
    assert writer.holes([3], after="", limit=10) == [Hole(3, "c", 7, 8)]

    last = writer.write([row("c", seq, partition=3) for seq in (8, 7)], {})
    assert last.watermarks == {3: {"c": 9}}
    assert writer.holes([3], after="", limit=10) == [Hole(3, "c", 10, None)]
    writer.close_holes(["c"])
    assert writer.count_holes([3]) == 0


def test_a_context_that_begins_with_a_hole_has_no_watermark(writer: ArchiveWriter) -> None:
    assert writer.write([row("c", 2)], {}).watermarks == {0: {"c": 0}}
    assert writer.write([row("c", 1)], {}).watermarks == {0: {"c": 2}}


def test_a_hole_is_seen_in_whatever_order_the_messages_come(writer: ArchiveWriter) -> None:
    written = writer.write([row("c", seq) for seq in (5, 1, 2)], {})
    assert (written.watermarks, written.new_holes) == ({0: {"c": 2}}, 1)


def test_positions_only_go_forward_unless_they_are_rewound(writer: ArchiveWriter) -> None:
    assert writer.positions([0, 1]) == {}
    writer.write([], {0: 10, 1: 20})
    writer.write([row("c", 1)], {0: 7, 1: 21})
    assert writer.positions([0, 1, 2]) == {0: 10, 1: 21}
    writer.rewind(0, 3)
    assert writer.positions([0]) == {0: 3}


def test_rows_and_positions_are_committed_together_or_not_at_all(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    writer.write([row("c", 1)], {0: 1})
    sql.execute("alter table archive_positions add check (position < 100)")
    with pytest.raises(ArchiveUnavailable):
        writer.write([row("c", 2)], {0: 100})
    assert list(stored(sql)) == [("c", 1)]
    assert writer.write([row("c", 2)], {0: 99}).watermarks == {0: {"c": 2}}


@pytest.mark.parametrize(
    "bad",
    [
        replace(row("bad", 1), body=b'{"not":"utf-8 \xff"}'),
        replace(row("bad", 1), body=b'{"not":"json'),
        replace(row("bad", 1), event_id="nul \0"),
        row("b" * 1_000_000, 1),
    ],
)
def test_a_row_that_postgres_never_takes_stops_nobody(
    writer: ArchiveWriter, sql: psycopg.Connection[Any], bad: ArchiveRow
) -> None:
    with capture_logs() as logs:
        written = writer.write([row("c", 1), bad, row("c", 2)], {0: 3})
    assert (written.inserted, written.refused) == (2, 1)
    assert [(e["log_level"], e["context_id"]) for e in logs] == [("error", bad.context_id)]
    assert "utf-8" not in str(logs)
    assert list(stored(sql)) == [("c", 1), ("c", 2)]
    assert writer.positions([0]) == {0: 3}


def test_an_undo_is_kept_once_and_marks_what_it_took(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    undos = [
        ArchiveUndo(0, "c", 5, 3, 4, 2, "undo-1"),
        ArchiveUndo(0, "c", 7, 2, 5, 2, "undo-2"),
        ArchiveUndo(0, "d", 2, 1, 1, 1, "undo-3"),
    ]
    writer.write([row("c", seq) for seq in (1, 2, 4)], {0: 7}, undos)
    with capture_logs() as logs:
        written = writer.write([row("c", seq) for seq in (3, 5, 6)], {0: 9}, undos)
    assert logs == []
    assert written.watermarks == {0: {"c": 6}}, "what was missing has come"
    found = sql.execute("select context_id, version, from_seq, to_seq, undone, event_id from undos")
    assert sorted(found) == [undo[1:] for undo in undos]
    marked = sql.execute("select seq, undone_version from messages_for_analysis order by seq")
    assert list(marked) == [(1, None), (2, 7), (3, 5), (4, 5), (5, 7), (6, None)]


def test_undos_are_committed_with_the_position_or_not_at_all(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    undo = ArchiveUndo(0, "c", 5, 3, 4, 2, "undo-1")
    sql.execute("alter table archive_positions add check (position < 100)")
    with pytest.raises(ArchiveUnavailable):
        writer.write([], {0: 100}, [undo])
    assert list(sql.execute("select * from undos")) == []
    writer.write([], {0: 99}, [undo])
    assert len(list(sql.execute("select * from undos"))) == 1
    assert writer.positions([0]) == {0: 99}


def test_two_nodes_may_sink_the_same_partition(database: str, sql: psycopg.Connection[Any]) -> None:
    facts = [row(f"c-{n % 7}", n // 7 + 1, partition=n % 2) for n in range(700)]

    def sink(step: int) -> None:
        writer = ArchiveWriter(database, TOPIC)
        for at in range(0, len(facts), step):
            writer.write(facts[at : at + step], {0: at, 1: at})
        writer.close()

    with ThreadPoolExecutor(4) as nodes:
        list(nodes.map(sink, (13, 40, 90, 350)))
    assert stored(sql) == {(r.context_id, r.seq): r.body for r in facts}
    watermarks = sql.execute("select distinct archived_seq from archived_contexts").fetchall()
    assert watermarks == [(100,)]
    assert sql.execute("select count(*) from archive_holes").fetchone() == (0,)


def test_a_lost_connection_is_made_again(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    writer.write([row("c", 1)], {})
    ((pid,),) = sql.execute(OURS).fetchall()
    sql.execute("select pg_terminate_backend(%s)", (pid,))
    with pytest.raises(ArchiveUnavailable):
        writer.write([row("c", 2)], {})
    assert writer.write([row("c", 2)], {}).watermarks == {0: {"c": 2}}


def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ArchiveUnfit, match="REWINDOW_POSTGRES") as refused:
        ArchiveWriter("secret password", TOPIC)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_analysts_get_jsonb_where_it_can_be(
    writer: ArchiveWriter, sql: psycopg.Connection[Any]
) -> None:
    writer.write([row("c", seq, parts) for seq, parts in enumerate(NASTY, 1)], {})
    found = sql.execute("select seq, parts, metadata from messages_for_analysis order by seq")
    parts = {seq: (parts, metadata) for seq, parts, metadata in found}
    assert parts[1] == (None, None)
    assert parts[2] == (json.loads(NASTY[1]), {})
    assert parts[3] == (None, {})
    assert parts[4] == ([{"a": 2, "b": 3, "type": "twice"}], {})
    assert len(parts) == len(NASTY)

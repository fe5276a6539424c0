-- Each query has a name, in a line of its own before it; streams/archive/queries.py reads them.

-- name: session
-- A node that is stopped in the middle of a batch must not hold up its successor for long.
select
    set_config('statement_timeout', '30s', false),
    set_config('idle_in_transaction_session_timeout', '15s', false),
    set_config('timezone', 'UTC', false);

-- name: make_staged
create temporary table if not exists staged (
    context_id text, seq bigint, version bigint, role text, body json, token_count bigint,
    event_id text, inserted_at timestamptz
) on commit delete rows;

-- name: lock_partitions
-- Two nodes may for a moment sink the same partition: one batch after the other, in one order.
select pg_advisory_xact_lock(hashtext(%(topic)s), partition)
from unnest(%(partitions)s::integer[]) as wanted (partition);

-- name: copy_new
-- Fails where one of them is there already; then they go by the staging table.
copy messages (
    context_id, seq, version, role, body, token_count, event_id, inserted_at
) from stdin (format binary);

-- name: copy_staged
copy staged from stdin (format binary);

-- name: insert_staged
with inserted as (
    insert into messages (
        context_id, seq, version, role, body, token_count, event_id, inserted_at
    )
    select context_id, seq, version, role, body, token_count, event_id, inserted_at
    from staged
    on conflict do nothing
    returning token_count, octet_length(body::text) as bytes
)
select count(*), coalesce(sum(bytes), 0), coalesce(sum(token_count), 0) from inserted;

-- name: differing
-- Asked only when fewer rows went in than were staged.
select s.context_id, s.seq
from staged s
join messages m using (context_id, seq)
where m.body::text <> s.body::text;

-- name: advance
-- The watermark goes up as far as the messages above it follow each other. Numbered from the
-- watermark on, those that do have the same distance to their number. Where the very next message
-- is missing, nothing above it is looked at, however much there is.
with touched as (
    select t.context_id, t.top_seq, coalesce(c.archived_seq, 0) as archived_seq
    from unnest(%(context_ids)s::text[], %(top_seqs)s::bigint[]) as t (context_id, top_seq)
    left join archived_contexts c using (context_id)
),
reached as (
    select t.context_id, t.top_seq, coalesce(r.archived_seq, t.archived_seq) as archived_seq
    from touched t
    cross join lateral (
        select max(n.seq) as archived_seq
        from (
            select m.seq, m.seq - row_number() over (order by m.seq) as distance
            from messages m
            where m.context_id = t.context_id and m.seq > t.archived_seq
        ) n
        where n.distance = t.archived_seq
            and exists (
                select from messages m
                where m.context_id = t.context_id and m.seq = t.archived_seq + 1
            )
    ) r
),
saved as (
    insert into archived_contexts (context_id, archived_seq)
    select context_id, archived_seq from reached order by context_id
    on conflict (context_id) do update
    set archived_seq = greatest(archived_contexts.archived_seq, excluded.archived_seq)
)
select context_id, archived_seq, top_seq from reached;

-- name: insert_undos
insert into undos (context_id, version, from_seq, to_seq, undone, event_id)
select * from unnest(
    %(context_ids)s::text[], %(versions)s::bigint[], %(from_seqs)s::bigint[],
    %(to_seqs)s::bigint[], %(undone)s::bigint[], %(event_ids)s::text[]
)
on conflict do nothing;

-- name: note_holes
insert into archive_holes (context_id, partition)
select context_id, partition
from unnest(%(context_ids)s::text[], %(partitions)s::integer[]) as found (context_id, partition)
on conflict do nothing
returning context_id;

-- name: close_holes
delete from archive_holes h
using archived_contexts c
where h.context_id = any(%(context_ids)s)
    and c.context_id = h.context_id
    and not exists (
        select from messages m where m.context_id = h.context_id and m.seq > c.archived_seq
    );

-- name: count_holes
select count(*) from archive_holes where partition = any(%(partitions)s);

-- name: holes
-- A hole that is filled, but not closed yet, has no to_seq.
select
    h.partition,
    h.context_id,
    c.archived_seq + 1 as from_seq,
    (
        select min(m.seq) - 1 from messages m
        where m.context_id = h.context_id and m.seq > c.archived_seq
    ) as to_seq
from archive_holes h
join archived_contexts c using (context_id)
where h.partition = any(%(partitions)s) and h.context_id > %(after)s
order by h.context_id
limit %(limit)s;

-- name: positions
select partition, position from archive_positions
where topic = %(topic)s and partition = any(%(partitions)s);

-- name: save_positions
insert into archive_positions (topic, partition, position)
select %(topic)s, partition, position
from unnest(%(partitions)s::integer[], %(positions)s::bigint[]) as reached (partition, position)
on conflict (topic, partition) do update
set position = greatest(archive_positions.position, excluded.position);

-- name: rewind
insert into archive_positions (topic, partition, position)
values (%(topic)s, %(partition)s, %(position)s)
on conflict (topic, partition) do update set position = excluded.position;

-- name: bodies
select m.seq, m.body
from unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) as run (first, last)
join messages m on m.context_id = %(context_id)s and m.seq between run.first and run.last
order by m.seq;

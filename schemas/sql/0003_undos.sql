-- Every undo that was accepted. The messages stay as they are: to mark each of them would make an
-- undo of a long conversation as dear as saying it again. So a message that is healed has its mark
-- at once.
create table undos (
    context_id text    not null,
    version    bigint  not null,
    -- Every message between the two was undone then, or before.
    from_seq   bigint  not null,
    to_seq     bigint  not null,
    -- How many were undone then.
    undone     bigint  not null,
    event_id   text    not null,
    primary key (context_id, version)
);

-- undone_version: of the undo that took the message away, null where it stands.
create or replace view messages_for_analysis as
select
    context_id,
    seq,
    version,
    role,
    jsonb_or_null(body, 'parts') as parts,
    jsonb_or_null(body, 'metadata') as metadata,
    token_count,
    event_id,
    inserted_at,
    (
        select min(u.version) from undos u
        where u.context_id = m.context_id and m.seq between u.from_seq and u.to_seq
    ) as undone_version
from messages m;

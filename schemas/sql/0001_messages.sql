-- Every message that was accepted, in full, for ever.
create table messages (
    context_id  text        not null,
    seq         bigint      not null,
    version     bigint      not null,
    -- As in the body, but for NUL, which no text column holds: there U+FFFD stands for it.
    role        text        not null,
    -- json and not jsonb: json keeps the text to the letter, the order of keys and \u0000 included.
    body        json        not null,
    token_count bigint      not null,
    -- Unknown for a message that was healed from the hot tail.
    event_id    text,
    inserted_at timestamptz not null,
    primary key (context_id, seq)
);

create index messages_by_time on messages (context_id, inserted_at);

-- The watermark of each context: messages 1 to archived_seq are there, without a hole.
-- A row is updated at every flush that touches its context, so it is given room to stay in place.
create table archived_contexts (
    context_id   text   primary key,
    archived_seq bigint not null
) with (fillfactor = 70);

-- Contexts of which messages are there above a missing one. Healed holes leave the table.
create table archive_holes (
    context_id text        primary key,
    partition  integer     not null,
    found_at   timestamptz not null default now()
);

create index archive_holes_by_partition on archive_holes (partition, context_id);

-- Where to go on in each partition of the facts. Everything below is archived and announced.
create table archive_positions (
    topic     text    not null,
    partition integer not null,
    position  bigint  not null,
    primary key (topic, partition)
);

create table archive_migrations (
    number     integer     primary key,
    name       text        not null,
    applied_at timestamptz not null default now()
);

-- JSON may hold what jsonb can't: \u0000, a number beyond numeric's range, half a surrogate pair.
-- Such a value comes out as null here, and stays whole in messages.body.
-- Left "parallel unsafe", which is the default: a block with an exception clause has to be.
create function jsonb_or_null(body json, key text) returns jsonb
    language plpgsql immutable strict
as $$
begin
    return (body -> key)::jsonb;
exception
    when others then
        return null;
end
$$;

-- For analysts: a message's parts and metadata as jsonb where they can be, else null.
create view messages_for_analysis as
select
    context_id,
    seq,
    version,
    role,
    jsonb_or_null(body, 'parts') as parts,
    jsonb_or_null(body, 'metadata') as metadata,
    token_count,
    event_id,
    inserted_at
from messages;

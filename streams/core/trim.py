"""Trimming: which message rows nothing hot needs any more."""

from msgspec.structs import replace

from schemas.limits import TRIMMED_ROWS_PER_EVENT_MAX
from streams.core.head import Head
from streams.core.rows import Draft, answer_key, event_hash_of, message_key, version_of
from streams.core.window import first_live_seq


def trimmed(head: Head, context: bytes, tail_keep: int, draft: Draft) -> Head:
    """The head after its tail was trimmed as far as it may be.

    A row goes when it is archived, older than the newest `tail_keep` messages, and outside the
    window. The answer kept under an append's idempotency key goes with the append's last message.
    """
    upto = min(head.archived_seq, head.last_seq - tail_keep)
    upto = min(upto, head.trimmed_seq + TRIMMED_ROWS_PER_EVENT_MAX)
    if (needed := first_live_seq(head.window)) is not None:
        upto = min(upto, needed - 1)
    if upto <= head.trimmed_seq:
        return head
    version = head.trimmed_version
    for seq in range(head.trimmed_seq + 1, upto + 1):
        key = message_key(context, seq)
        if (row := draft.get(key)) is not None:
            if (event_hash := event_hash_of(row)) is not None:
                draft.delete(answer_key(context, event_hash))
            draft.delete(key)
            version = version_of(row)
    return replace(head, trimmed_seq=upto, trimmed_version=version)

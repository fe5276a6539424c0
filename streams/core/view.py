"""A head as readers see it, in JSON."""

import msgspec
from msgspec import Raw, Struct

from schemas.policy import Policy
from streams.core.clock import rfc3339
from streams.core.head import Head, Segment, Summary
from streams.core.undone import UndoneRange

_json = msgspec.json.Encoder()


class ContextJson(Struct, frozen=True):
    """What GET /v1/contexts/{id} answers."""

    id: str
    status: str
    token_budget: int
    trigger_ratio: float
    policy: Policy
    encoding: str
    metadata: Raw
    version: int
    last_seq: int
    archived_seq: int
    used_tokens: int
    needs_compaction: bool
    created_at: str
    updated_at: str


def context_json(context_id: str, head: Head) -> bytes:
    """What GET /v1/contexts/{id} answers."""
    return _json.encode(
        ContextJson(
            id=context_id,
            status=head.status,
            token_budget=head.token_budget,
            trigger_ratio=head.trigger_ratio,
            policy=head.policy,
            encoding=head.encoding,
            metadata=Raw(head.metadata),
            version=head.version,
            last_seq=head.last_seq,
            archived_seq=head.archived_seq,
            used_tokens=head.window.used_tokens,
            needs_compaction=head.needs_compaction,
            created_at=rfc3339(head.created_at),
            updated_at=rfc3339(head.updated_at),
        )
    )


def range_json(undone: UndoneRange) -> dict[str, int]:
    """A range of undone messages as readers see it."""
    return {"from_seq": undone.from_seq, "to_seq": undone.to_seq}


def segment_json(segment: Segment) -> dict[str, str | int]:
    """A segment as readers see it: its kind and the seqs that it stands for or shows."""
    kind = "summary" if isinstance(segment, Summary) else "live"
    return {"type": kind, "from_seq": segment.from_seq, "to_seq": segment.to_seq}

"""What HTTP has to answer, by the pure core over dictionaries: see `World`.

Whoever asks one thing after the other folds along (see `tests/integration/test_model.py`); what was
asked at the same time is judged afterwards (see `tests/support/race.py`).
"""

import json
from collections.abc import Sequence
from typing import NamedTuple, assert_never

import httpx

from schemas.facts import UndoAccepted
from schemas.policy import Manual
from streams.core.fold import Folded
from streams.core.outcome import (
    Advanced,
    Appended,
    Compacted,
    Configured,
    Outcome,
    Patched,
    Refused,
    Stale,
    Tombstoned,
    Undone,
    Unread,
)
from streams.core.rows import json_of, message_key
from streams.core.view import context_json, segment_json
from tests.support.contexts import Json
from tests.support.fold import World

STATUS = {
    "invalid_request": 400,
    "not_found": 404,
    "conflict": 409,
    "tombstoned": 409,
    "too_large": 413,
    "idempotency_key_reused": 422,
}
PAGE_DEFAULT = 100


class Answer(NamedTuple):
    """`body`: decoded, None where there is none. `replayed`: it says that it was given before."""

    status: int
    body: Json | None
    replayed: bool = False


def answer_of(response: httpx.Response) -> Answer:
    """What came over the wire."""
    body = json.loads(response.content) if response.content else None
    return Answer(response.status_code, body, "Idempotent-Replayed" in response.headers)


def written(folded: Folded, *, single: bool = False) -> Answer:
    """The answer to whoever wrote the event. `single`: one message by itself, not a list."""
    outcome: Outcome = folded.outcome
    match outcome:
        case Appended(replayed=replayed):
            return Answer(201, _appended(outcome, single=single), replayed)
        case Configured(created=created, replayed=replayed):
            return Answer(201 if created else 200, _context(folded), replayed)
        case Patched(replayed=replayed):
            return Answer(200, _context(folded), replayed)
        case Compacted(version=version, replayed=replayed):
            return Answer(200, {"version": version}, replayed)
        case Undone(replayed=replayed):
            return Answer(200, _undone(outcome), replayed)
        case Tombstoned():
            return Answer(204, None)
        case Refused(code=code, message=message, version=version):
            more = {"version": version} if code == "conflict" else {}
            return Answer(STATUS[code], {"error": code, "message": message, **more})
        case Advanced() | Stale() | Unread():
            raise AssertionError(f"nobody is answered that: {outcome!r}")
        case _:
            assert_never(outcome)


def _appended(appended: Appended, *, single: bool) -> Json:
    first, counts = appended.first_seq, list(appended.token_counts)
    if single:
        return {"seq": first, "version": appended.version, "token_estimate": counts[0]}
    return {
        "first_seq": first,
        "last_seq": appended.last_seq,
        "version": appended.version,
        "token_estimates": counts,
    }


def _undone(undone: Undone) -> Json:
    seqs = (undone.from_seq, undone.to_seq) if undone.undone else (None, None)
    answer = {"version": undone.version, "undone": undone.undone}
    return answer | dict(zip(("from_seq", "to_seq"), seqs, strict=True))


def _context(folded: Folded) -> Json:
    assert folded.head is not None, "what was accepted has a head"
    return dict(json.loads(context_json(folded.context_id, folded.head)))


def read(world: World, context_id: str, noun: str, **query: int) -> Answer:
    """The answer to a GET of `tail`, `messages` or `context`, or without a noun of the head."""
    head = world.heads.get(context_id)
    if head is None:
        message = f"no context {context_id!r}; PUT it first"
        return Answer(404, {"error": "not_found", "message": message})
    match noun:
        case "":
            return Answer(200, json.loads(context_json(context_id, head)))
        case "context":
            return Answer(200, _window(world, context_id, **query))
        case "tail":
            said, undone = _said(world, context_id), _undone_seqs(world, context_id)
            standing = [message for message in said if message["seq"] not in undone]
            return Answer(200, {"messages": _tail(standing, **query)})
        case "messages":
            said = _said(world, context_id)
            page = _page(said, **query)
            shown = [message["seq"] for message in page["messages"]]
            undone = _runs(_undone_seqs(world, context_id), shown)
            told = {"version": head.version, "last_seq": len(said), "undone": undone}
            return Answer(200, page | told)
        case _:
            raise AssertionError(f"nothing is read at {noun!r}")


def _said(world: World, context_id: str) -> list[Json]:
    """Every message from the first one on; none of them may have been trimmed."""
    context, last = context_id.encode(), world.heads[context_id].last_seq
    rows = (world.rows[message_key(context, seq)] for seq in range(1, last + 1))
    return [json.loads(json_of(row)) for row in rows]


def _undone_seqs(world: World, context_id: str) -> set[int]:
    """By the facts, one undo after the other: no range was ever looked at."""
    facts = [f for who, f in world.facts if who == context_id and isinstance(f, UndoAccepted)]
    return {seq for fact in facts for seq in range(fact.from_seq, fact.to_seq + 1)}


def _runs(undone: set[int], shown: Sequence[int]) -> list[Json]:
    """The whole runs of undone seqs that have any of the shown ones in them."""
    runs: list[Json] = []
    for seq in sorted(undone):
        if seq - 1 in undone:
            runs[-1]["to_seq"] = seq
        else:
            runs.append({"from_seq": seq, "to_seq": seq})
    return [r for r in runs if any(r["from_seq"] <= seq <= r["to_seq"] for seq in shown)]


def _window(world: World, context_id: str, budget_tokens: int | None = None) -> Json:
    head = world.heads[context_id]
    own = None if isinstance(head.policy, Manual) else head.token_budget
    shown = world.show(context_id, own if budget_tokens is None else budget_tokens)
    body = {
        "version": head.version,
        "messages": [json.loads(message) for message in shown.messages],
        "used_tokens": shown.used_tokens,
        "token_budget": budget_tokens or head.token_budget,
        "needs_compaction": head.needs_compaction,
        "segments": [segment_json(segment) for segment in shown.segments],
    }
    return body | ({"over_budget": True} if shown.over_budget else {})


def _tail(said: Sequence[Json], limit: int = PAGE_DEFAULT, offset: int = 0) -> list[Json]:
    end = max(0, len(said) - offset)
    return list(said[max(0, end - limit) : end])


def _page(
    said: Sequence[Json],
    limit: int = PAGE_DEFAULT,
    from_seq: int = 1,
    before_seq: int | None = None,
) -> Json:
    if before_seq is not None:
        end = min(before_seq - 1, len(said))
        start = max(0, end - limit)
        return {"messages": said[start:end], "next_seq": start + 1 if start else None}
    start = from_seq - 1 if from_seq > 0 else max(0, len(said) + from_seq)
    end = start + limit
    return {"messages": said[start:end], "next_seq": end + 1 if end < len(said) else None}

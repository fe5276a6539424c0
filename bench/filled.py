"""Conversations that are there before they are read."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench import kafka
from bench.http import Http
from bench.messages import TOKENS, contexts
from bench.records import records
from bench.servers import Servers, running
from bench.stage import Stage
from bench.watching import until
from schemas.topics import Topics

PER_EVENT: Final = 100
PATIENCE_S: Final = 180.0
CONTEXTS: Final = 200
MESSAGES_PER_EVENT: Final = 10


def settings(messages: int) -> bytes:
    """Of a context whose window holds so many messages: the policy runs at each append once it is
    full, as there are tokens enough to trigger it, and not so many as the budget has."""
    return msgspec.json.encode(
        {
            "token_budget": messages * TOKENS * 5 // 4,
            "trigger_ratio": 0.7,
            "policy": {"strategy": "last_n", "config": {"limit": messages}},
        }
    )


def fill(
    ours: Servers, url: str, prefix: str, ids: Sequence[str], messages: int, told: bytes
) -> None:
    """Make contexts with these settings and so many messages each, by the log of a deployment, and
    wait until all of it is archived."""
    http = Http(url)
    for context_id in ids:
        http.put(context_id, told)
    for context_id in ids:
        whole, rest = divmod(messages, PER_EVENT)
        for each, events in ((PER_EVENT, whole), (rest, 1 if rest else 0)):
            made = records([context_id], events, messages=each, tokens=TOKENS, first=each)
            kafka.produce(ours.kafka, Topics(prefix).log, made)
    until(
        lambda: all(http.get(one)["archived_seq"] >= messages for one in ids),
        f"{len(ids)} contexts of {messages} messages are archived",
        within_s=PATIENCE_S,
    )


def fold_rows(stage: Stage, ours: Servers, topics: Topics, rows: int) -> None:
    """Make a deployment whose changelogs hold so many rows and more. Ten messages an event make
    eleven of them, and the head."""
    kafka.make_deployment(ours.kafka, topics.prefix)
    events = stage.much(rows) // (MESSAGES_PER_EVENT + 1) + 1
    made = records(contexts(CONTEXTS), events, messages=MESSAGES_PER_EVENT, tokens=TOKENS)
    kafka.produce(ours.kafka, topics.log, made)
    with running(ours.new_node(topics.prefix)):
        # Ready is caught up; a clean stop makes all of it durable.
        pass
    stage.say(f"{events:,} events of {MESSAGES_PER_EVENT} messages folded")

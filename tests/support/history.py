"""A history that leaves rows of every kind behind, and holes where rows were."""

from schemas.events import LogEvent
from tests.support.fold import (
    append,
    archived,
    compact,
    configure,
    last_n,
    message,
    messages,
    part,
    patch,
    raw,
    skip_parts,
    tombstone,
)


def history() -> list[LogEvent]:
    """Three contexts: trimmed, compacted, closed; the events of one deployment, in order."""
    said = [append(message(tokens=10), context="long", key=f"said-{n}") for n in range(30)]
    return [
        configure(context="long", budget=60, policy=last_n(4)),
        *said,
        append(context="long", key="said-3"),
        configure(context="parts", budget=50, policy=skip_parts()),
        append(message(part(), part("tool_call"), tokens=90), message(tokens=5), context="parts"),
        patch(raw({"title": "ü", "n": [1, 2.50]}), context="parts"),
        append(*messages(1, 2, 3), context="closed"),
        compact(message(), message(), context="closed"),
        archived({"long": 28, "closed": 3}, tail_keep=2),
        tombstone("closed"),
        append(context="closed"),
    ]

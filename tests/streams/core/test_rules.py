"""The version of the fold's rules: other results from the same log want another version."""

import hashlib

from schemas.codec import encode_fact
from streams.core.head import RULES
from streams.core.view import context_json
from tests.support.fold import (
    World,
    append,
    archived,
    compact,
    configure,
    last_n,
    manual,
    message,
    messages,
    part,
    patch,
    raw,
    skip_parts,
    tombstone,
    undo,
)

RESULTS = {1: "e546d91feb64a817a2594f9ccd1093c0f402e43e2b403be4949569c5128dbcf6"}
"""What readers got from the story below, by the version of the rules. Only ever added to."""

UNDONE = {1: "abda7566d5ffabb4f443261f34f1288c31b82ef459a611f1126a5e0204788e60"}
"""And from the one that has undos in it."""


def story() -> World:
    """A log that every rule has a part in."""
    world = World()
    world.take_all(
        configure(context="last", key="1", budget=100, trigger=0.5, policy=last_n(4)),
        *(append(*messages(n, 7), context="last", key=f"said {n}") for n in range(1, 60, 3)),
        append(*messages(200), context="last", key="huge"),
        append(*messages(1, 7), context="last", key="said 1"),
        append(*messages(2), context="last", key="said 1"),
        append(message(part(text="counted here " * 9)), context="last", key="counted"),
        append(message(), context="last", key="late", if_version=1),
        archived({"last": 9, "nobody": 1}, tail_keep=3, key="event-1"),
        configure(context="skip", key="1", budget=60, policy=skip_parts("tool", limit=5)),
        *(
            append(
                message(part("tool_call", "x" * 50), part(text=f"answer {n}"), id=f"m{n}"),
                message(part("tool_result", "y" * 50)),
                context="skip",
                key=f"said {n}",
            )
            for n in range(9)
        ),
        configure(context="hand", key="1", budget=10, policy=manual(), metadata=raw({"a": 1})),
        append(*messages(9, 9, 9), context="hand", key="2"),
        compact(message(tokens=3), message(tokens=4), context="hand", key="3"),
        append(*messages(1), context="hand", key="4"),
        compact(context="hand", key="5", if_version=2),
        patch(raw({"a": None, "b": [1.0]}), context="hand", key="6"),
        tombstone("hand", key="7"),
        append(message(), context="hand", key="8"),
        append(message(), context="unknown", create=False, key="9"),
    )
    return world


def undone_story() -> World:
    """Undos, and what every rule makes of them."""
    world = World()
    said = [append(*messages(n, 7), context="last", key=f"said {n}") for n in range(1, 30, 3)]
    world.take_all(
        configure(context="last", key="1", budget=60, trigger=0.5, policy=last_n(4)),
        *said[:6],
        undo(12, context="last", key="2"),
        *said[6:8],
        undo(14, context="last", key="3", if_version=9),
        undo(3, context="last", key="4", if_version=1),
        said[0],
        *said[8:],
        archived({"last": 18}, tail_keep=2, key="event-1"),
        undo(2, context="last", key="5"),
        undo(2, context="last", key="6"),
        append(*messages(5), context="last", key="more"),
        undo(2, context="last", key="6"),
        configure(context="skip", key="1", budget=60, policy=skip_parts("tool", limit=5)),
    )
    for n in range(9):
        call, text = part("tool_call", "x" * 50), part(text=f"answer {n}")
        result = part("tool_result", "y" * 50)
        world.take_all(
            append(message(call, text), message(result), context="skip", key=f"said {n}"),
            undo(2 * n + 1 + n % 2, context="skip", key=f"undo {n}"),
        )
    world.take_all(
        compact(message(tokens=3), message(tokens=4), context="skip", key="2"),
        append(*messages(1, 2), context="skip", key="3"),
        undo(10, context="skip", key="4"),
        undo(1, context="skip", key="5"),
        undo(1, context="nobody", key="1"),
        tombstone("skip", key="6"),
        undo(1, context="skip", key="7"),
    )
    return world


def results(world: World) -> str:
    """A hash of all that readers get: facts, contexts, windows."""
    found = hashlib.sha256()
    for number, (subject, fact) in enumerate(world.facts):
        found.update(encode_fact(fact, fact_id=f"0.0.{number}", subject=subject))
    for name, head in world.heads.items():
        found.update(context_json(name, head))
        found.update(b"".join(world.show(name).messages))
        found.update(b"".join(world.show(name, budget=20).messages))
        if head.undos.ranges:
            found.update(repr(world.tail(name)).encode())
    return found.hexdigest()


def test_the_same_log_gives_the_same_results_or_the_version_is_another() -> None:
    assert results(story()) == results(story()) == RESULTS[RULES]
    assert results(undone_story()) == results(undone_story()) == UNDONE[RULES]

"""What `rewindow verify` found, a line for each place."""

from streams.tables.digest import Digest
from streams.verify import Verdict


def line_of(verdict: Verdict) -> str:
    """One verdict, as an operator reads it."""
    found = verdict.found
    upto = "no event" if found.position < 0 else f"event {found.position}"
    return (
        f"partition {found.partition}  {verdict.place:10}  up to {upto}: {found.contexts} heads, "
        f"{found.rows} rows: {_judgement(found, verdict.expected)}"
    )


def _judgement(found: Digest, expected: Digest | None) -> str:
    if expected is None:
        return "can't be proven, the log no longer begins at its first event"
    if found == expected:
        return "as the log says"
    differ = [
        name
        for name, ours, theirs in (
            ("the position", found.position, expected.position),
            ("heads", found.windows, expected.windows),
            ("rows", found.tails, expected.tails),
        )
        if ours != theirs
    ]
    return (
        f"DIFFERS in {' and '.join(differ)}, the log says {expected.contexts} heads, "
        f"{expected.rows} rows"
    )

"""A window that is kept is the one of this very head."""

from msgspec.structs import replace

from api.kept import KeptWindows
from streams.core.head import Head

HEAD = Head(offset=1, created_at=0, updated_at=0)


def test_it_is_that_of_one_head_and_one_budget() -> None:
    kept = KeptWindows(100)
    assert kept.find("c", HEAD, None) is None
    kept.keep("c", HEAD, None, b"window")
    assert kept.find("c", HEAD, None) == b"window"
    assert kept.find("c", HEAD, 10) is None
    assert kept.find("d", HEAD, None) is None
    assert kept.find("c", replace(HEAD), None) is None
    changed = replace(HEAD, version=1)
    kept.keep("c", changed, 10, b"newer")
    assert kept.find("c", HEAD, None) is None
    assert kept.find("c", changed, 10) == b"newer"


def test_memory_stays_bounded_and_what_is_asked_for_stays() -> None:
    kept = KeptWindows(100)
    for number in range(50):
        kept.keep("asked", HEAD, None, b"x" * 40)
        kept.keep(f"c{number}", HEAD, None, b"x" * 30)
        assert kept.find("asked", HEAD, None) is not None
        assert kept._size == sum(len(a.body) for a in kept._answers.values()) <= 100
    kept.keep("large", HEAD, None, b"x" * 101)
    assert kept.find("large", HEAD, None) is None

"""What a run came to, as a small table."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from tests.chaos.checks import Account
from tests.chaos.told import Told

TOGETHER: Final = "two at once"
CALM: Final = "nothing"


class Happened(Struct, frozen=True):
    """A round: its kind of fault, and from when to when it went on, by the monotonic clock."""

    kind: str
    begun: float
    healed: float


def table(account: Account, told: Told, happened: Sequence[Happened]) -> Iterator[str]:
    """Its lines."""
    yield f"acknowledged {account.acknowledged} messages in {told.appends} appends"
    yield f"lost {account.lost}, doubled {account.doubled}"
    why = ", ".join(f"{times} for {why}" for why, times in told.retries.most_common())
    yield f"retries {told.retries.total()} ({why}), races lost {told.refused}"
    yield ""
    yield f"{'fault':32}{'times':>6}{'healed after':>15}{'longest silence':>18}"
    by_kind: defaultdict[str, list[Happened]] = defaultdict(list)
    for one in happened:
        by_kind[one.kind].append(one)
    for kind, times in sorted(by_kind.items()):
        healed = max(one.healed - one.begun for one in times)
        silence = max(longest_silence(told.at, one) for one in times)
        yield f"{kind:32}{len(times):>6}{healed:>13.1f} s{silence:>16.1f} s"


def longest_silence(at: Mapping[str, Sequence[float]], during: Happened) -> float:
    """For how long, at most, nothing was acknowledged in some context, in s."""
    return max((_silence(moments, during) for moments in at.values()), default=0.0)


def _silence(moments: Sequence[float], during: Happened) -> float:
    """From the last one before to the first one after."""
    first = max(bisect_right(moments, during.begun) - 1, 0)
    last = bisect_left(moments, during.healed)
    heard = moments[first : last + 1]
    return max((b - a for a, b in pairwise(heard)), default=0.0)

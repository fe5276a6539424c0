"""Which node has which partition, as the group's last assignment says."""

from collections.abc import Iterable, Mapping


class Owners:
    """`own_url`: how the other nodes reach this one."""

    def __init__(self, own_url: str) -> None:
        self._own_url = own_url
        self._urls: dict[int, str] = {}

    def learn(self, assignment: Mapping[str, Iterable[int]]) -> None:
        """Take over a new assignment: the partitions of each node, by its address."""
        self._urls = {p: url for url, partitions in assignment.items() for p in partitions}

    def other(self, partition: int) -> str | None:
        """The address of the other node that has a partition; None where it is ours, or unknown."""
        url = self._urls.get(partition)
        return None if url == self._own_url else url

    def others(self) -> tuple[str, ...]:
        """The addresses of all other nodes that have partitions."""
        return tuple(sorted({url for url in self._urls.values() if url != self._own_url}))

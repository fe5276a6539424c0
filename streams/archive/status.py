"""How the archive is, for whoever asks from another thread."""

from msgspec import Struct


class ArchiveStatus(Struct, frozen=True):
    """`holes`: contexts of which messages are missing. `differing` and `refused`: messages that
    raised an alarm since the start. `flushed_at`: seconds since 1970 of the last commit."""

    pending_rows: int = 0
    holes: int = 0
    differing: int = 0
    refused: int = 0
    problem: str | None = None
    flushed_at: float | None = None

    def notes(self) -> tuple[str, ...]:
        """What is wrong, in sentences, for the health report."""
        notes = [] if self.problem is None else [self.problem]
        if self.holes:
            notes.append(
                f"the archive lacks messages of {self.holes} contexts; they are healed from the "
                "hot tail, and nothing of them is trimmed before"
            )
        if self.differing:
            notes.append(
                f"{self.differing} messages differ from what the archive holds under their seq; "
                "see the log"
            )
        if self.refused:
            notes.append(f"Postgres refused {self.refused} messages for good; see the log")
        return tuple(notes)

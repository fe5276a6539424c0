"""What can't be read, and what can't be said, as a sentence for whoever asked."""


class NotReadable(ValueError):
    """What was given is not of its format; the message says what is wrong."""


class NotExpressible(ValueError):
    """A window holds what the format has no place for.

    `message`: the sentence without saying where. `seq`: of the message; None for one of a summary.
    """

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.seq = seq

"""What can go wrong, one class for each thing that a program may want to tell apart. Every message
is a sentence that says what to do."""

from typing import Any, Final


class RewindowError(Exception):
    """Everything that this package raises, but for what is wrong with its arguments."""


class NoAnswer(RewindowError):
    """Nothing answered in time, or the line was cut before an answer was whole.

    `key` is the idempotency key of a write, None of a read: whether it was written is not known,
    and to ask again under that key is safe.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class NotRewindow(RewindowError):
    """Something answers at the address, and it is no node of Rewindow."""


class OtherVersion(RewindowError):
    """A node answered in a shape that this client does not know."""


class NotWritten(RewindowError):
    """Some events did not get into the log. `written`: how many did."""

    def __init__(self, message: str, written: int) -> None:
        super().__init__(message)
        self.written = written


class Refused(RewindowError):
    """The server said no; a code without a class of its own is one of these.

    `status` is HTTP's, `code` the contract's, `message` the server's sentence, `fields` whatever
    else it said. `key` is the idempotency key that a write was made under, None of a read.
    """

    def __init__(
        self, status: int, code: str, message: str, fields: dict[str, Any], key: str | None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.key = key


class InvalidRequest(Refused):
    """The request can't be understood."""

    @property
    def field(self) -> str | None:
        """What is wrong, where it is one field."""
        return self.fields.get("field")


class Unauthorized(Refused):
    """A valid API key is missing."""


class NotFound(Refused):
    """There is no such context, or nothing under this path."""


class MethodNotAllowed(Refused):
    """The path does not take this method."""


class Conflict(Refused):
    """`if_version` is not the version."""

    @property
    def version(self) -> int:
        """The current one."""
        return int(self.fields["version"])


class Tombstoned(Refused):
    """The context was deleted; what was said stays readable."""


class TooLarge(Refused):
    """More than a limit allows, which the sentence names."""


class IdempotencyKeyReused(Refused):
    """The idempotency key was used with another body."""


class NotExpressible(Refused):
    """The window holds what the format asked for has no words for."""

    @property
    def seq(self) -> int | None:
        """The message that it is about."""
        return self.fields.get("seq")


class RateLimited(Refused):
    """Too many requests, or too many live streams, until the time to wait was over."""

    @property
    def retry_after(self) -> int | None:
        """Seconds."""
        return self.fields.get("retry_after")


class Unavailable(Refused):
    """The node could not answer until the time to wait was over."""

    @property
    def retry_after(self) -> int | None:
        """Seconds."""
        return self.fields.get("retry_after")


class Internal(Refused):
    """A bug of the server."""

    @property
    def trace_id(self) -> str | None:
        """Under which the node's log has it."""
        return self.fields.get("trace_id")


REFUSALS: Final[dict[str, type[Refused]]] = {
    "invalid_request": InvalidRequest,
    "unauthorized": Unauthorized,
    "not_found": NotFound,
    "method_not_allowed": MethodNotAllowed,
    "conflict": Conflict,
    "tombstoned": Tombstoned,
    "too_large": TooLarge,
    "idempotency_key_reused": IdempotencyKeyReused,
    "not_expressible": NotExpressible,
    "rate_limited": RateLimited,
    "unavailable": Unavailable,
    "internal": Internal,
}

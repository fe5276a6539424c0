"""What a context id and an event id may look like. One rule, used at every door."""

from schemas.limits import CONTEXT_ID_BYTES_MAX, EVENT_ID_CHARS_MAX


def has_control_characters(text: str) -> bool:
    """Unicode category Cc: C0, DEL and C1. They hide in logs and break header lines."""
    # What can be printed holds none, and to ask that takes a tenth of the time.
    return not text.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in text)


def problem_of_context_id(text: str) -> str | None:
    """Say what is wrong with a context id, or None where nothing is."""
    if not text:
        return "the context id is empty; give it 1 to 512 bytes of UTF-8"
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        return "the context id is not valid Unicode; send it as UTF-8"
    if size_bytes > CONTEXT_ID_BYTES_MAX:
        return f"the context id has {size_bytes} bytes; at most {CONTEXT_ID_BYTES_MAX} are allowed"
    if "/" in text or has_control_characters(text):
        return "the context id holds '/' or a control character; leave them out"
    return None


def problem_of_event_id(text: str) -> str | None:
    """Say what is wrong with an event id (the idempotency key), or None where nothing is."""
    if not text:
        return "the event id (idempotency key) is empty; leave it out or give it a value"
    if len(text) > EVENT_ID_CHARS_MAX:
        return (
            f"the event id (idempotency key) has {len(text)} characters; "
            f"at most {EVENT_ID_CHARS_MAX} are allowed"
        )
    if has_control_characters(text):
        return "the event id (idempotency key) holds a control character; leave it out"
    return None

"""Every bound, each with its unit in its name. What goes over one is refused by that name."""

from typing import Final

CONTEXT_ID_BYTES_MAX: Final = 512
EVENT_ID_CHARS_MAX: Final = 200
REQUEST_ID_CHARS_MAX: Final = 128
ROLE_CHARS_MAX: Final = 64
MESSAGE_BYTES_MAX: Final = 1 << 20
REQUEST_BYTES_MAX: Final = 4 << 20
MESSAGES_PER_APPEND_MAX: Final = 100
NESTING_LEVELS_MAX: Final = 128
RECORD_LEVELS_MAX: Final = NESTING_LEVELS_MAX + 2
"""A record of the log: a request of the deepest kind, and what its envelope adds to it."""
METADATA_BYTES_MAX: Final = 64 << 10
"""A head carries its context's metadata in every write, so that it has to stay small."""

TOKEN_BUDGET_MAX: Final = 100_000_000
TOKEN_COUNT_MAX: Final = 1_000_000_000
POLICY_LIMIT_MAX: Final = 1_000_000_000
SKIP_KINDS_MAX: Final = 64
SKIP_KIND_CHARS_MAX: Final = 200
REPLACEMENT_MESSAGES_MAX: Final = 10_000
CONTROL_ANSWERS_KEPT: Final = 8
"""How many answers to PUT, PATCH and compact a head remembers for retries (appends have rows)."""
UNDO_ANSWERS_KEPT: Final = 4
"""How many answers to undo a head remembers beside those."""
UNDONE_RANGES_PER_READ: Final = 128
"""So many ranges of undone messages are read at once; of a context there may be any number."""

PAGE_MESSAGES_MAX: Final = 1000
PAGE_CONTEXTS_MAX: Final = 1000
REASON_CHARS_MAX: Final = 400
"""Why a record can't be read: what it quotes may be megabytes, the dead-letter record may not."""
WATERMARKS_PER_EVENT_MAX: Final = 1000
TRIMMED_ROWS_PER_EVENT_MAX: Final = 10_000
"""One watermark deletes no more rows of a context than this; the next one goes on from there."""

LOG_RECORD_BYTES_MAX: Final = 6 << 20
"""A record of the log: a 4 MiB request and what its envelope and its counts add to it."""
RECORD_BYTES_MAX: Final = 8 << 20
"""A record of every other topic: `rewindow.dead` has to take any log record, with headers."""

TOKEN_BUDGET_DEFAULT: Final = 8192
TRIGGER_RATIO_DEFAULT: Final = 0.7
LAST_N_LIMIT_DEFAULT: Final = 400
TAIL_KEEP_DEFAULT: Final = 1000

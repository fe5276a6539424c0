"""`rewindow rebuild` that is killed when it has written half of what it writes."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rewindow.cli import main
from streams import rebuild
from streams.tables.transaction import TransactionWriter

TRANSACTIONS = 4


class Writer(TransactionWriter):
    """Its process does not live to see one transaction more."""

    done = 0

    def commit(self, rows: Mapping[str, Any], outbound: Sequence[Any]) -> dict[str, int]:
        if Writer.done == TRANSACTIONS:
            os.kill(os.getpid(), signal.SIGKILL)
        Writer.done += 1
        return super().commit(rows, outbound)


if __name__ == "__main__":
    rebuild.ROWS_PER_TRANSACTION = 3  # type: ignore[misc]
    rebuild.TransactionWriter = Writer  # type: ignore[misc]
    sys.argv = ["rewindow", "rebuild"]
    main()

"""The command line, as somebody types it."""

import os
import subprocess
import sys
from pathlib import Path


def rewindow(
    *argv: str, cwd: Path | None = None, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in an environment that tells it nothing of ours but this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REWINDOW_")}
    return subprocess.run(
        [sys.executable, "-m", "rewindow", *argv],
        cwd=cwd,
        input=stdin if stdin is not None else "",
        env=kept | {"COLUMNS": "100", "NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

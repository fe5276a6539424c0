"""`rewindow up` with a stand-in for the node, told by the environment."""

import asyncio
import sys
from pathlib import Path

from rewindow.errors import CannotStart
from rewindow.settings import UpSettings
from rewindow.up import Up

STAND_IN = Path(__file__).with_name("stand_in.py")


async def main() -> None:
    await Up(UpSettings(), node_command=[sys.executable, str(STAND_IN)]).run()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except CannotStart as exc:
        sys.exit(f"rewindow: {exc}")

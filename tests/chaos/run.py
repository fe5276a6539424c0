"""One run: a cluster, everybody who uses it, faults, calm, and a look at everything."""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.chaos.checks import Account, checked
from tests.chaos.cluster import Cluster
from tests.chaos.crowd import Crowd
from tests.chaos.faults import Round, happen
from tests.chaos.report import CALM, TOGETHER, Happened, table

SEED: Final = "REWINDOW_CHAOS_SEED"


def asked_seed() -> int:
    """The one that is asked for, or one that nobody has seen."""
    asked = os.environ.get(SEED)
    return secrets.randbelow(1 << 32) if asked is None else int(asked)


def say(line: str) -> None:
    """At once, also into a file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(folder: Path, faults: Iterator[Round]) -> Account:
    """All rounds; says a line for each, and a table. Nothing is left running.

    Raises what `until` raises where the cluster does not heal.
    """
    cluster = Cluster(folder)
    try:
        cluster.begin()
        account = asyncio.run(_suffer(cluster, folder, faults))
        if (status := cluster.end()) != 0:
            account.wrong.append(f"`rewindow up` ended with status {status}")
        return account
    finally:
        cluster.discard()


async def _suffer(cluster: Cluster, folder: Path, faults: Iterator[Round]) -> Account:
    crowd = Crowd(cluster)
    happened = []
    async with asyncio.TaskGroup() as group:
        using = group.create_task(crowd.run())
        async with crowd.following():
            await crowd.heard()
            began = time.monotonic()
            for faults_ in faults:
                happened.append(await _one(cluster, crowd, faults_))
                names = ", ".join(map(str, faults_)) or CALM
                healed_s = happened[-1].healed - happened[-1].begun
                say(f"{happened[-1].begun - began:6.0f} s  {names}: well again in {healed_s:.1f} s")
            crowd.finish()
            await using
    account = await checked(cluster, crowd, folder)
    for line in table(account, crowd.told, happened):
        say(line)
    return account


async def _one(cluster: Cluster, crowd: Crowd, faults: Round) -> Happened:
    """A round, up to where all is well again."""
    begun = time.monotonic()
    await happen(cluster, faults)
    await crowd.heard()
    healed = time.monotonic()
    await cluster.in_sync()
    await cluster.ready()
    kind = TOGETHER if len(faults) > 1 else faults[0].kind if faults else CALM
    return Happened(kind, begun, healed)

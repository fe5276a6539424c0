"""What has to hold when it is calm again."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

import httpx
import msgspec
import psycopg
from msgspec import Struct

from streams.tables.digest import Digest
from tests.chaos.cluster import PARTITIONS, PREFIX, Cluster
from tests.chaos.crowd import Crowd
from tests.chaos.writers import clients
from tests.support.commands import rewindow
from tests.support.contexts import Context, Json, texts
from tests.support.deployment import Deployment
from tests.support.doors import replayed
from tests.support.followers import Follower
from tests.support.writers import Promise

ARCHIVED_S: Final = 90.0
ASK_AGAIN_S: Final = 0.5
AT_A_TIME: Final = 10
TIMES_MOVING: Final = 3
SHOWN: Final = 5

Found = dict[str, list[bytes]]
"""The messages of each context, to the letter, in order."""


class Account(Struct):
    """`wrong`: a sentence about each thing that should be otherwise, lost and doubled included."""

    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = []

    def complain(self, what: str, about: Sequence[object]) -> int:
        """Where there is something; how much."""
        if about:
            shown = "; ".join(map(str, about[:SHOWN]))
            self.wrong.append(f"{len(about)} {what}, such as {shown}")
        return len(about)


async def checked(cluster: Cluster, crowd: Crowd, folder: Path) -> Account:
    """Look at everything, in every place where it is:

    1. the answers; 2. the messages at each node; 3. Postgres; 4. who followed; 5. facts, tables and
    changelogs, by the pure fold; 6. the same tables and changelogs by `rewindow verify`;
    7. who ended without having been hurt.
    """
    account = Account()
    account.complain("answers are surprises", crowd.told.surprises)  # 1
    async with clients(cluster.urls) as nodes:
        found = await _read(nodes[0], crowd)  # 2
        for client in nodes[1:]:
            again = await _read(client, crowd)
            differing = [name for name in found if again[name] != found[name]]
            account.complain(f"contexts are otherwise at {client.base_url}", differing)
        versions = {talk.context_id: 0 for talk in crowd.talks}
        for name in versions:
            versions[name] = (await Context(nodes[0], name).get())["version"]
    messages = {name: [json.loads(body) for body in bodies] for name, bodies in found.items()}
    _compare(crowd, messages, versions, account)
    await _in_postgres(cluster.postgres, found, account)  # 3
    await crowd.follow(versions)  # 4
    for name, follower in crowd.followers.items():
        _followed(name, follower, messages[name], account)
    await asyncio.to_thread(_by_fold, cluster, folder, account)  # 5
    await asyncio.to_thread(_by_command, cluster, account)  # 6
    account.complain("nodes ended by themselves", cluster.ended_unhurt())  # 7
    return account


# -- messages -----------------------------------------------------------------------------------


async def _read(client: httpx.AsyncClient, crowd: Crowd) -> Found:
    gate = asyncio.Semaphore(AT_A_TIME)

    async def read(name: str) -> tuple[str, list[bytes]]:
        async with gate:
            return name, await replayed(client, name)

    return dict(await asyncio.gather(*(read(talk.context_id) for talk in crowd.talks)))


def _compare(
    crowd: Crowd,
    messages: Mapping[str, list[Json]],
    versions: Mapping[str, int],
    account: Account,
) -> None:
    """What was promised with what is there: each once, at its seq and version, and nothing else."""
    promised: defaultdict[str, list[Promise]] = defaultdict(list)
    for promise in crowd.told.promises:
        promised[promise.context].append(promise)
    lost, doubled, unasked, holes = [], [], [], []
    displaced: list[object] = []
    for name, found in messages.items():
        count = Counter(texts(found))
        delivered = crowd.told.delivered[name]
        wanted = [*(promise.text for promise in promised[name]), *delivered]
        account.acknowledged += len(wanted)
        lost += [f"{name}: {text!r}" for text in wanted if text not in count]
        doubled += [f"{name}: {text!r}" for text, times in count.items() if times > 1]
        unasked += [f"{name}: {text!r}" for text in count.keys() - set(wanted)]
        there = {
            Promise(name, text, one["seq"], one["version"])
            for text, one in zip(texts(found), found, strict=True)
        }
        displaced += [promise for promise in promised[name] if promise not in there]
        if delivered and texts(found) != delivered:
            displaced += [f"{name} is not in the order of its writing"]
        if [one["seq"] for one in found] != list(range(1, len(found) + 1)):
            holes.append(name)
        if sorted({one["version"] for one in found}) != list(range(1, versions[name] + 1)):
            holes.append(f"{name} (versions)")
    account.lost = account.complain("messages are lost", lost)
    account.doubled = account.complain("messages are there more than once", doubled)
    account.complain("messages were never acknowledged", unasked)
    account.complain("promises are not kept to the letter", displaced)
    account.complain("contexts have holes", holes)


def _followed(name: str, follower: Follower, found: list[Json], account: Account) -> None:
    """Each message was told once, in order."""
    told = zip(follower.seqs, follower.versions, strict=True)
    there = ((one["seq"], one["version"]) for one in found)
    differing = [f"{one} for {other}" for one, other in zip_longest(told, there) if one != other]
    account.complain(f"messages of {name} (seq, version) were told otherwise", differing)
    account.complain(f"frames about {name} are surprises", follower.surprises)


# -- other places -------------------------------------------------------------------------------


async def _in_postgres(url: str, found: Found, account: Account) -> None:
    """Everything, to the letter, once it is archived."""
    deadline = time.monotonic() + ARCHIVED_S
    while differing := await asyncio.to_thread(_unlike, url, found):
        if time.monotonic() > deadline:
            account.complain("contexts are otherwise in Postgres", differing)
            return
        await asyncio.sleep(ASK_AGAIN_S)


def _unlike(url: str, found: Found) -> list[str]:
    rows: defaultdict[str, list[bytes]] = defaultdict(list)
    with psycopg.connect(url) as connection:
        query = "select context_id, body::text from messages order by context_id, seq"
        for context_id, body in connection.execute(query):
            rows[context_id].append(body.encode())
    return [name for name in found.keys() | rows.keys() if rows[name] != found.get(name)]


def _by_fold(cluster: Cluster, folder: Path, account: Account) -> None:
    """Tables, changelogs and facts are read one after the other: while watermarks still come in,
    they may be of different moments. What is wrong stays so."""
    deployment = Deployment(cluster.kafka, PREFIX, folder, partitions=PARTITIONS)
    for _ in range(TIMES_MOVING):
        digests = httpx.get(f"{cluster.urls[0]}/internal/digests", timeout=60).raise_for_status()
        live = msgspec.json.decode(digests.content, type=list[Digest])
        wrong = [one for digest in live for one in _unlike_the_log(deployment, digest)]
        if sorted(digest.partition for digest in live) != list(range(PARTITIONS)):
            wrong.append(f"the nodes have {len(live)} partitions of {PARTITIONS}, or some twice")
        if not wrong:
            return
    account.wrong += wrong


def _unlike_the_log(deployment: Deployment, live: Digest) -> Iterator[str]:
    expected = deployment.expected(live.partition)
    if live != expected.digest:
        yield f"tables are {live}, the log says {expected.digest}"
    if (changelogs := deployment.changelog_digest(live.partition)) != expected.digest:
        yield f"changelogs are {changelogs}, the log says {expected.digest}"
    if (facts := deployment.facts(live.partition)) != expected.facts:
        count = len(expected.facts)
        yield f"partition {live.partition} has {len(facts)} facts, not {count}, or others"
    if dead := deployment.dead(live.partition):
        yield f"partition {live.partition} has {len(dead)} dead letters"


def _by_command(cluster: Cluster, account: Account) -> None:
    """Of each partition the live tables and the changelogs, with a replay of the log."""
    verified = rewindow("verify", REWINDOW_DATA=str(cluster.data))
    agreeing = verified.stdout.count("as the log says")
    if verified.returncode != 0 or agreeing != 2 * PARTITIONS:
        account.wrong.append(f"`rewindow verify`: {verified.stdout}{verified.stderr}")

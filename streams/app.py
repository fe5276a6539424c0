"""The streams of one node: the Faust app, the tables, the agents and the archive, wired."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import faust
import structlog
from faust.types import TP, StreamT
from faust.types.auth import SASLMechanism

from schemas.topics import TAILS, WINDOWS, topic_shapes
from streams import encodings, faust_seams
from streams.agents.archive import ArchiveAgent
from streams.agents.fold import FoldAgent
from streams.agents.watch import LagWatch
from streams.archive.reader import ArchiveReader
from streams.contexts import Contexts
from streams.live import Live
from streams.log_writer import LogWriter
from streams.membership import Membership
from streams.metrics import Metrics
from streams.owners import Owners
from streams.settings import StreamSettings
from streams.store import Health
from streams.tables.digest import Digest, digest_of
from streams.tables.journal import Journal
from streams.tables.record import Record
from streams.tables.restore import TablesUnfit
from streams.tables.source import Source
from streams.tables.table import JournaledTable
from streams.topics import prepare_topics
from streams.tracing import TRACING_OFF, Tracing
from streams.waiters import Waiters

log = structlog.get_logger()

COMMIT_PERIOD_S: Final = 1.0
STOP_S: Final = 15


class Streams:
    """Starts and stops in order; `ended` gets the reason when it can't go on by itself.

    `on_expelled` is called when another process has taken this node's place in the group; it has to
    end the process at once, because two of one name would take the place from each other for ever.
    """

    def __init__(
        self,
        settings: StreamSettings,
        on_expelled: Callable[[], None],
        tracing: Tracing = TRACING_OFF,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._on_expelled = on_expelled
        self._topics = settings.topics
        self._kafka = settings.librdkafka()
        self._member = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters = Waiters()
        self._live = Live()
        self._owners = Owners(settings.url)
        self._source = Source(self._kafka, self._topics.log)
        self._app = _faust_app(settings)
        self._windows, self._tails = (self._table(name) for name in (WINDOWS, TAILS))
        self._journal = Journal(
            settings, self._source, self._windows, self._tails, self._fail, self.metrics
        )
        self.metrics.watch(lambda: self._journal.lanes.values())
        self._fold = FoldAgent(
            self._topics,
            self._journal,
            self._source,
            self._waiters,
            self._live,
            encodings.measure,
            self.metrics,
            tracing,
        )
        self._watch = LagWatch(self._journal, self._source, self._fold)
        self._membership = Membership(
            settings.session_timeout_s,
            lambda: faust_seams.acknowledged_at(self._app),
            self._watch.silent_within,
        )
        self._writer = LogWriter(
            self._kafka,
            self._topics.log,
            timeout_s=settings.write_timeout_s,
            on_written=self._fold_written,
            tracing=tracing,
        )
        self._archive: ArchiveAgent | None = None
        self._reader: ArchiveReader | None = None
        if settings.postgres is not None:
            self._archive = ArchiveAgent(settings, self._hot, self.metrics)
            self._reader = ArchiveReader(settings)
        self.contexts = Contexts(
            settings,
            self._journal,
            self._owners,
            self._waiters,
            self._writer,
            self._reader,
            self._live,
            self.health,
            self._membership,
        )
        self._wire()

    # -- wiring ---------------------------------------------------------------------------------

    def _table(self, name: str) -> JournaledTable:
        table = JournaledTable(
            self._app,
            name=name,
            key_type=bytes,
            value_type=bytes,
            partitions=self.settings.partitions,
            # Faust's default cache is up to 2 GiB for each partition.
            options={"block_cache_size": 16 << 20, "write_buffer_size": 4 << 20},
        )
        self._app.tables.add(table)
        return table

    def _wire(self) -> None:
        faust_seams.install()
        faust_seams.take_whole(self._app, self._topics.log, self._fold.arrive)
        # Faust opens the tables in the order of their making: the last one hands over.
        self._tails.on_owned = self._owned
        self._app.on_partitions_revoked.connect(self._revoked, weak=False)
        topic = self._app.topic(
            self._topics.log,
            partitions=self.settings.partitions,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,
        )
        self._app.agent(topic, name="fold")(self._run_fold)

    async def _run_fold(self, _stream: StreamT[Any]) -> None:
        """Faust starts an agent that raised anew, and goes on; so nothing gets out."""
        try:
            await self._fold.run()
        except Exception as exc:
            self._fail(exc)
            await asyncio.Event().wait()

    def _fold_written(self, records: Sequence[Record]) -> None:
        try:
            self._fold.written(records)
        except Exception as exc:
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        if not self.ended.done():
            self.ended.set_result(exc)

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Broker and topics, then the archive's schema, then Faust and the tables.

        Returns when Faust runs; `health()` says when the tables are caught up. Raises
        `TopicsUnfit`.
        """
        shapes = topic_shapes(
            self._topics,
            self.settings.partitions,
            log_retention_ms=self.settings.log_retention_ms,
            facts_retention_ms=self.settings.facts_retention_ms,
        )
        await asyncio.to_thread(
            prepare_topics,
            self._kafka,
            shapes,
            replication=self.settings.replication,
            timeout_s=self.settings.broker_patience_s,
        )
        if self._archive is not None and self._reader is not None:
            await self._reader.open()
            self._archive.start()
        self._app.finalize()
        await self._app.start()
        self._tasks = [
            asyncio.create_task(self._guarded(job))
            for job in (
                self._watch.run,
                self._membership.run,
                self._keep_committing,
                self._notice_crash,
                self._notice_lost_place,
            )
        ]

    def hang_up(self) -> None:
        """End every live stream: an HTTP server that drains would wait for them."""
        self._live.end_all_but((), "the node stops; come back with the cursor")

    async def stop(self) -> None:
        """What was folded is made durable, offsets are committed, the group is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.ended.done():
            await self._settle()
        # Once the group is left, others go on with what is still here.
        self._journal.forget()
        if self._owners.others():
            faust_seams.leave_at_stop(self._app)
        try:
            async with asyncio.timeout(STOP_S):
                await self._app.stop()
        except TimeoutError:
            log.warning("Faust did not stop in time", seconds=STOP_S)
        except Exception as exc:
            # It has nothing left to lose: what counts is durable, or will be folded again.
            log.warning("Faust did not stop as it should", why=str(exc), exc_info=exc)
        if self._archive is not None and self._reader is not None:
            await asyncio.to_thread(self._archive.stop)
            await self._reader.close()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._source.close)

    async def _guarded(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except Exception as exc:
            self._fail(exc)

    async def _notice_crash(self) -> None:
        self._fail(await faust_seams.crash_of(self._app))

    async def _notice_lost_place(self) -> None:
        while True:
            if (why := faust_seams.group_failure(self._app)) is not None:
                return self._fail(RuntimeError(f"the place in the group was lost: {why}"))
            await asyncio.sleep(COMMIT_PERIOD_S)

    # -- ownership ------------------------------------------------------------------------------

    async def _owned(self, partitions: set[int]) -> None:
        self._member = faust_seams.member_id(self._app)
        self._owners.learn(self._windows.owners())
        try:
            await self._journal.own(sorted(partitions))
        except TablesUnfit as exc:
            # Faust would bury its sentence under the traces of a crash.
            return self._fail(exc)
        # What another node folded meanwhile was answered there, and is no news here.
        self._waiters.give_up_all_but(self._journal.unbroken)
        self._live.end_all_but(
            self._journal.unbroken, "the context moved to another node; come back"
        )
        if self._archive is not None:
            self._archive.own(partitions)
        return None

    async def _revoked(self, *_args: Any, **_more: Any) -> None:
        if self._member and not faust_seams.member_id(self._app):
            self._on_expelled()
        if self._archive is not None:
            self._archive.own(set())
        await self._settle()
        self._journal.forget()

    async def _settle(self) -> None:
        """Give what was folded time to become durable; a successor folds the rest again."""
        try:
            async with asyncio.timeout(self.settings.session_timeout_s / 2):
                await self._journal.settled()
                await self._commit()
        except TimeoutError:
            log.warning("the last transaction did not end before the partitions went")

    async def _keep_committing(self) -> None:
        """The group's offsets only spare Faust work; the position rows decide."""
        while True:
            await asyncio.sleep(COMMIT_PERIOD_S)
            await self._commit()

    async def _commit(self) -> None:
        offsets = {
            TP(self._topics.log, partition): offset
            for partition, offset in self._journal.durable().items()
        }
        if offsets:
            await faust_seams.commit(self._app, offsets)

    # -- what others ask ------------------------------------------------------------------------

    def health(self) -> Health:
        """Ready when the broker answers, partitions are here, and their tables are caught up."""
        problems: list[str] = []
        lanes = self._journal.lanes
        if self._watch.silent_since is not None:
            silent_s = time.monotonic() - self._watch.silent_since
            problems.append(f"the broker has not answered for {silent_s:.0f} s")
        if not lanes:
            problems.append("no partition is on this node yet")
        elif (doubt := self._membership.doubt) is not None:
            problems.append(doubt)
        problems += [
            f"partition {p} is catching up: event {lane.next} of {lane.target}"
            for p, lane in lanes.items()
            if not lane.caught_up
        ]
        notes = () if self._archive is None else self._archive.notes()
        stale = self._watch.silent_since is not None or not self._membership.sure
        return Health(tuple(problems), notes, stale)

    async def digests(self) -> list[Digest]:
        """What the tables of each partition hold, as hashes; for `rewindow verify`."""
        await self._journal.settled()
        found = [
            (partition, lane.windows.rows_stored(), lane.tails.rows_stored())
            for partition, lane in self._journal.lanes.items()
        ]
        return [await asyncio.to_thread(digest_of, *tables) for tables in found]

    def _hot(self, partition: int, context_id: str, seqs: range) -> list[tuple[int, bytes]]:
        """For the archive's healing: messages that are hot here. Called on the loop."""
        lane = self._journal.lanes.get(partition)
        return [] if lane is None else lane.hot(context_id, seqs)


def _faust_app(settings: StreamSettings) -> faust.App:
    settings.data.mkdir(parents=True, exist_ok=True)
    return faust.App(
        settings.prefix,
        broker=";".join(f"kafka://{host.strip()}" for host in settings.kafka.split(",")),
        broker_credentials=_credentials(settings),
        store="rocksdb://?driver=rocksdict",
        datadir=str(settings.data / "tables"),
        consumer_group_instance_id=_place(settings),
        # How the group tells each node where the others are.
        canonical_url=settings.url,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        # So long all others wait for a member that is busy with what it was assigned before.
        broker_rebalance_timeout=2 * settings.session_timeout_s,
        broker_request_timeout=90,
        stream_wait_empty=False,
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
        autodiscover=False,
    )


def _place(settings: StreamSettings) -> str:
    """This node's place in the group, which it finds again when it comes back in time.

    The address belongs to it: who comes back to a place is handed what was assigned to it before,
    under the address of that time, and Faust would not have it under another one.
    """
    address = hashlib.blake2b(settings.url.encode(), digest_size=4).hexdigest()
    return f"{settings.prefix}-{settings.node_id}-{address}"


def _credentials(settings: StreamSettings) -> Any:
    """Faust's form of the same settings that librdkafka gets."""
    context = None
    if "SSL" in settings.kafka_security_protocol:
        import ssl

        context = ssl.create_default_context(
            cafile=None if settings.kafka_ssl_ca is None else str(settings.kafka_ssl_ca)
        )
    if settings.kafka_sasl_username is not None and settings.kafka_sasl_password is not None:
        return faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value(),
            mechanism=SASLMechanism(settings.kafka_sasl_mechanism),
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)

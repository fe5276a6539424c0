"""The command line."""

import asyncio
import gc
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from rewindow.endpoints import read_endpoints
from rewindow.errors import CannotStart
from rewindow.logs import configure_logs
from rewindow.settings import NodeSettings, UpSettings, read_settings

if TYPE_CHECKING:
    from rewindow.client import Client

app = typer.Typer(
    name="rewindow",
    help="An event-sourced context store for LLM conversations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ContextId = Annotated[str, typer.Argument(metavar="CONTEXT", help="The context's id.")]
Url = Annotated[
    str | None,
    typer.Option(
        envvar="REWINDOW_URL", help="A node's address; by default the one that `up` started."
    ),
]
Data = Annotated[
    Path, typer.Option(envvar="REWINDOW_DATA", help="The data folder of `rewindow up`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]
DATA_DEFAULT = Path("./.rewindow")


def main() -> None:
    """The entry point. What can't be done is said in one sentence, with a status of 1."""
    try:
        app()
    except CannotStart as exc:
        typer.echo(f"rewindow: {exc}", err=True)
        sys.exit(1)


# -- servers ------------------------------------------------------------------------------------


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Where HTTP listens (4000).")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where everything is kept (./.rewindow).")
    ] = None,
    partitions: Annotated[int | None, typer.Option(help="How many a new log gets (4).")] = None,
    nodes: Annotated[
        int | None, typer.Option(help="How many nodes, on ports in a row (1).")
    ] = None,
    brokers: Annotated[
        int | None, typer.Option(help="How many Kafka brokers, with 3 copies of all from 3 on (1).")
    ] = None,
    no_postgres: Annotated[
        bool | None, typer.Option("--no-postgres", help="No archive: nothing is ever trimmed.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", envvar="REWINDOW_DEMO", help="Show a conversation.")
    ] = False,
) -> None:
    """Start Kafka, Postgres and nodes here, and watch over them. Nothing has to be installed."""
    from rewindow.demo import show_demo
    from rewindow.up import Up

    settings = read_settings(
        UpSettings,
        port=port,
        data=data,
        partitions=partitions,
        nodes=nodes,
        brokers=brokers,
        no_postgres=no_postgres,
    )

    async def run() -> None:
        await Up(settings).run(show_demo if demo else None)

    asyncio.run(run())


@app.command(short_help="Run one node against a Kafka and a Postgres that exist.")
def node() -> None:
    """Run one node against a Kafka and a Postgres that exist. It is told all by its environment.

    \b
    REWINDOW_KAFKA       the brokers, host:port[,…] (127.0.0.1:9092)
    REWINDOW_POSTGRES    the archive, postgresql://…; without it nothing is ever trimmed
    REWINDOW_HOST, _PORT where HTTP listens (127.0.0.1, 4000)
    REWINDOW_DATA        its own folder for tables (./.rewindow/node)
    REWINDOW_NODE_ID     its own name; no two nodes have the same (node-1)
    REWINDOW_PARTITIONS  how many a new log gets (4)
    REWINDOW_PREFIX      what the names of the topics begin with (rewindow)
    """
    import uvloop

    settings = read_settings(NodeSettings)
    configure_logs()
    # Before Faust is imported, which makes loops of its own.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    # What is made by imports stays: to look for garbage in it took a sixth of their time. The node
    # begins to look when it has started.
    gc.disable()
    from rewindow.node import run_node

    # Not `asyncio.run`: it waits at the end for every task that is left, and of Faust's there may
    # be one that never ends. A node that can't go on has to be gone, so that it is started again.
    status = asyncio.Runner().run(run_node(settings))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


# -- conversations ------------------------------------------------------------------------------


@app.command()
def context(
    context_id: ContextId,
    budget: Annotated[int | None, typer.Option(help="Another token budget, this once.")] = None,
    url: Url = None,
    data: Data = DATA_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show the window of a context: what the model gets to see."""
    from rewindow.show import console, messages_table, window_panel

    client = _client(url, data)
    window = client.get(context_id, "context", budget_tokens=budget)
    if as_json:
        return _print_json(window)
    out = console()
    out.print(messages_table(window["messages"]))
    out.print(window_panel(client.get(context_id), window))
    return None


@app.command()
def append(
    context_id: ContextId,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="What is said; by default standard input, without the newline at its end.",
        ),
    ] = None,
    role: Annotated[str, typer.Option(help="Who says it.")] = "user",
    create: Annotated[bool, typer.Option("--create", help="Make the context first.")] = False,
    key: Annotated[str | None, typer.Option(help="The idempotency key, for retries.")] = None,
    url: Url = None,
    data: Data = DATA_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Append a message to a context."""
    client = _client(url, data)
    if create:
        client.put(context_id, {})
    said = _standard_input() if text is None else text
    message = {"role": role, "parts": [{"type": "text", "text": said}]}
    answer = client.append(context_id, [message], key)
    if as_json:
        return _print_json(answer)
    typer.echo(
        f"message {answer['last_seq']}, {answer['token_estimates'][-1]} tokens, "
        f"version {answer['version']}"
    )
    return None


@app.command()
def tail(
    context_id: ContextId,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many messages.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="How many of the newest to pass over.")] = 0,
    url: Url = None,
    data: Data = DATA_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show the newest messages of a context."""
    from rewindow.show import console, messages_table

    page = _client(url, data).get(context_id, "tail", limit=limit, offset=offset)
    if as_json:
        return _print_json(page)
    console().print(messages_table(page["messages"]))
    return None


@app.command(short_help="Undo messages from a seq on; the history keeps them.")
def undo(
    context_id: ContextId,
    from_seq: Annotated[
        int, typer.Option(min=1, help="The first message to undo, with all that came after it.")
    ],
    key: Annotated[str | None, typer.Option(help="The idempotency key, for retries.")] = None,
    url: Url = None,
    data: Data = DATA_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Undo messages: they stay in the history, and leave window and tail."""
    answer = _client(url, data).undo(context_id, from_seq, key)
    if as_json:
        return _print_json(answer)
    which = f", {answer['from_seq']} to {answer['to_seq']}" if answer["undone"] else ""
    typer.echo(f"{answer['undone']} messages undone{which}, version {answer['version']}")
    return None


@app.command("import", short_help="Make contexts of the conversations in a file.")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, or lines of JSON.")],
    context: Annotated[
        str | None, typer.Option(help="The id of the context, where the file is one conversation.")
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(help="What the ids begin with; by default the file's name and a colon."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", help="The file's format; by default seen by its shape."),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="The token budget of contexts that are made for it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    url: Url = None,
    data: Data = DATA_DEFAULT,
    as_json: AsJsonLines = False,
) -> None:
    """Make contexts of the conversations in a file, and append their messages to them.

    Run again, also after it was cut off in the middle, it appends what is not there yet. What can't
    be read is skipped and named; the status is 1 then.

    \b
    Formats: openai-chat, openai-responses, anthropic, ai-sdk, sharegpt, openhands, swe-agent
    """
    from formats.recognising import FORMATS
    from rewindow.imports import Import, Report, Wanted
    from rewindow.progress import progress

    if kind is not None and kind not in FORMATS:
        raise CannotStart(f"--format {kind} is not known; it is one of {', '.join(FORMATS)}")
    if context is not None and prefix is not None:
        raise CannotStart("give --context for one conversation or --prefix for several, not both")
    wanted = Wanted(file, context, prefix, kind, budget, dry_run)
    client = None if dry_run else _client(url, data)
    report = Report(dry=dry_run)
    with progress("read", "bytes") as watch:
        for one in Import(wanted, client, watch).run():
            line = report.add(one)
            typer.echo(msgspec.json.encode(one) if as_json else line)
    if not as_json:
        typer.echo(report.sum())
    if report.skipped:
        raise CannotStart(f"{report.skipped} skipped; what is said above has each, and why")


# -- operations ---------------------------------------------------------------------------------


@app.command(short_help="Prove by replay that heads and rows are what the log says.")
def verify(url: Url = None, data: Data = DATA_DEFAULT, as_json: AsJsonLines = False) -> None:
    """Replay the log in a scratch space, and compare every head and row with the live ones: those
    in the node's tables, and those in the changelogs. The node goes on meanwhile."""
    from rewindow.progress import progress
    from rewindow.verdicts import line_of
    from streams.verify import verify as verified

    live = _client(url, data).digests()
    settings = _of_running(data)
    found = []
    with _sentences(), tempfile.TemporaryDirectory() as scratch, progress("verified") as watch:
        for verdict in verified(settings, live, Path(scratch), watch):
            found.append(verdict)
            typer.echo(msgspec.json.encode(verdict) if as_json else line_of(verdict))
    if not all(verdict.agrees for verdict in found if verdict.expected is not None):
        raise CannotStart("the state is not what the log says; `rewindow rebuild` makes it anew")
    if not all(verdict.agrees for verdict in found):
        raise CannotStart("the log has lost its first events, and nothing can be proven without")


@app.command(short_help="Throw tables and changelogs away, and fold the log again.")
def rebuild(data: Data = DATA_DEFAULT, as_json: AsJsonLines = False) -> None:
    """Throw tables and changelogs away, and fold the log again. Every node has to be stopped.

    With REWINDOW_KAFKA set, for that deployment; else for the data folder of `rewindow up`, whose
    Kafka is started for it.

    Interrupted, it goes on where it was: what it has folded so far is in the data folder.
    """
    from rewindow.progress import progress
    from streams.rebuild import rebuild as rebuilt

    with (
        _stopped_deployment(data) as settings,
        _sentences(),
        _scratch(data) as scratch,
        progress("folded") as watch,
    ):
        for done in rebuilt(settings, scratch, watch):
            typer.echo(
                json.dumps(done._asdict())
                if as_json
                else f"partition {done.partition}: {done.events} events folded, "
                f"{done.rows} rows written"
            )


@app.command(short_help="Tell the log again to another log: other partitions, another Kafka.")
def replay(
    to_topic: Annotated[
        str, typer.Option(metavar="TOPIC", help="The log to fill, PREFIX.log of its nodes.")
    ],
    to_kafka: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Its brokers; by default the log's own."),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="How many it gets; by default as many as the log."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Leave out what arrived before (RFC 3339)."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Leave out what arrived then or later (RFC 3339)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    data: Data = DATA_DEFAULT,
    as_json: AsJsonLines = False,
) -> None:
    """Tell the log again to another log, each event as it is and with the time that it has.

    With REWINDOW_KAFKA set, the log of that deployment; else of `rewindow up`, whether it runs or
    not. Interrupted, it goes on where it was; so does one that is run again when more was said.
    """
    from rewindow.progress import progress
    from rewindow.replays import line_of_replayed, milliseconds
    from streams.transfer import Wanted
    from streams.transfer import replay as replayed

    wanted = Wanted(
        to_topic,
        to_kafka,
        partitions,
        None if since is None else milliseconds(since, "--from"),
        None if until is None else milliseconds(until, "--until"),
        dry_run,
    )
    with _deployment(data) as settings, _sentences(), progress("replayed") as watch:
        for done in replayed(settings, wanted, watch):
            typer.echo(
                json.dumps(done._asdict()) if as_json else line_of_replayed(done, dry=dry_run)
            )


def _client(url: str | None, data: Path) -> "Client":
    """With the key of the environment: a node's own list of keys will do."""
    from rewindow.client import Client

    keys = os.environ.get("REWINDOW_API_KEY") or os.environ.get("REWINDOW_API_KEYS", "")
    return Client(url or read_endpoints(data).http[0], keys.partition(",")[0].strip() or None)


def _of_running(data: Path) -> NodeSettings:
    """The settings of what runs: by the environment, else what `up` wrote down."""
    if "REWINDOW_KAFKA" in os.environ:
        return read_settings(NodeSettings)
    return read_settings(NodeSettings, kafka=read_endpoints(data).kafka)


@contextmanager
def _stopped_deployment(data: Path) -> Iterator[NodeSettings]:
    if "REWINDOW_KAFKA" in os.environ:
        yield read_settings(NodeSettings)
        return
    from rewindow.embedded.alone import kafka_alone
    from rewindow.embedded.kafka import replication_of

    with kafka_alone(data) as addresses:
        replication = replication_of(addresses.count(",") + 1)
        yield read_settings(NodeSettings, kafka=addresses, replication=replication)


@contextmanager
def _deployment(data: Path) -> Iterator[NodeSettings]:
    """Whether it runs or not."""
    if "REWINDOW_KAFKA" in os.environ or (data / "endpoints.json").exists():
        yield _of_running(data)
    else:
        with _stopped_deployment(data) as settings:
            yield settings


@contextmanager
def _scratch(data: Path) -> Iterator[Path]:
    """A folder for what has to outlive us; ours alone, and gone when all is done or nothing was
    begun."""
    from rewindow.embedded.datafolder import DataFolder

    folder = DataFolder(data / "rebuild")
    folder.hold()
    done = False
    try:
        yield folder.path
        done = True
    finally:
        if done or not any(one.is_dir() for one in folder.path.iterdir()):
            shutil.rmtree(folder.path)
            if not any(data.iterdir()):
                data.rmdir()
        folder.release()


@contextmanager
def _sentences() -> Iterator[None]:
    """What the streams can't do, as a command says it."""
    from confluent_kafka import KafkaException

    from streams.rebuild import CannotRebuild
    from streams.tables.restore import TablesUnfit
    from streams.topics import TopicsUnfit
    from streams.transfer import CannotReplay
    from streams.verify import NeverQuiet

    try:
        yield
    except (CannotRebuild, CannotReplay, NeverQuiet, TablesUnfit, TopicsUnfit) as exc:
        raise CannotStart(str(exc)) from None
    except KafkaException as exc:
        raise CannotStart(f"Kafka refuses, or is away: {exc.args[0].str()}") from None


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise CannotStart(f"standard input is not UTF-8 at byte {exc.start}; send UTF-8") from None


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))

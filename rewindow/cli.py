"""The command line."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from rewindow.client import Client
from rewindow.endpoints import read_endpoints
from rewindow.errors import CannotStart
from rewindow.logs import configure_logs
from rewindow.settings import NodeSettings, UpSettings, read_settings
from rewindow.show import console, messages_table, window_panel

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
    from rewindow.node import run_node

    sys.exit(asyncio.run(run_node(settings)))


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
    page = _client(url, data).get(context_id, "tail", limit=limit, offset=offset)
    if as_json:
        return _print_json(page)
    console().print(messages_table(page["messages"]))
    return None


# -- operations ---------------------------------------------------------------------------------


@app.command(short_help="Prove by replay that heads and rows are what the log says.")
def verify(url: Url = None, data: Data = DATA_DEFAULT, as_json: AsJsonLines = False) -> None:
    """Replay the log in a scratch space, and compare every head and row with the live ones: those
    in the node's tables, and those in the changelogs."""
    from confluent_kafka import KafkaException

    from rewindow.verdicts import line_of
    from streams.topics import TopicsUnfit
    from streams.verify import NeverQuiet
    from streams.verify import verify as verified

    live = _client(url, data).digests()
    settings = _of_running(data)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for verdict in verified(settings, live, Path(scratch)):
                found.append(verdict)
                typer.echo(msgspec.json.encode(verdict) if as_json else line_of(verdict))
        except (TopicsUnfit, NeverQuiet) as exc:
            raise CannotStart(str(exc)) from None
        except KafkaException as exc:
            raise CannotStart(f"Kafka refuses, or is away: {exc.args[0].str()}") from None
    if not all(verdict.agrees for verdict in found if verdict.expected is not None):
        raise CannotStart("the state is not what the log says; `rewindow rebuild` makes it anew")
    if not all(verdict.agrees for verdict in found):
        raise CannotStart("the log has lost its first events, and nothing can be proven without")


@app.command(short_help="Throw tables and changelogs away, and fold the log again.")
def rebuild(data: Data = DATA_DEFAULT, as_json: AsJsonLines = False) -> None:
    """Throw tables and changelogs away, and fold the log again. Every node has to be stopped.

    With REWINDOW_KAFKA set, for that deployment; else for the data folder of `rewindow up`, whose
    Kafka is started for it.
    """
    from confluent_kafka import KafkaException

    from streams.rebuild import CannotRebuild
    from streams.rebuild import rebuild as rebuilt
    from streams.topics import TopicsUnfit

    with _stopped_deployment(data) as settings, tempfile.TemporaryDirectory() as scratch:
        try:
            for done in rebuilt(settings, Path(scratch)):
                typer.echo(
                    json.dumps(done._asdict())
                    if as_json
                    else f"partition {done.partition}: {done.events} events folded, "
                    f"{done.rows} rows written"
                )
        except (CannotRebuild, TopicsUnfit) as exc:
            raise CannotStart(str(exc)) from None
        except KafkaException as exc:
            raise CannotStart(f"Kafka refuses, or is away: {exc.args[0].str()}") from None


def _client(url: str | None, data: Path) -> Client:
    """With the key of the environment: a node's own list of keys will do."""
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

    with kafka_alone(data) as address:
        yield read_settings(NodeSettings, kafka=address)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise CannotStart(f"standard input is not UTF-8 at byte {exc.start}; send UTF-8") from None


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))

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
from rewindow.settings import NodeSettings, UpSettings
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
    str | None, typer.Option(help="A node's address; by default the one that `up` started.")
]
Data = Annotated[
    Path, typer.Option(envvar="REWINDOW_DATA", help="The data folder of `rewindow up`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a picture.")]
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
    no_postgres: Annotated[
        bool | None, typer.Option("--no-postgres", help="No archive: nothing is ever trimmed.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", envvar="REWINDOW_DEMO", help="Show a conversation.")
    ] = False,
) -> None:
    """Start Kafka, Postgres and a node here, and watch over them. Nothing has to be installed."""
    from rewindow.demo import show_demo
    from rewindow.up import Up

    flags: dict[str, Any] = {
        "port": port,
        "data": data,
        "partitions": partitions,
        "no_postgres": no_postgres,
    }
    settings = UpSettings(**{name: value for name, value in flags.items() if value is not None})

    async def run() -> None:
        await Up(settings).run(show_demo if demo else None)

    asyncio.run(run())


@app.command()
def node() -> None:
    """Run one node against a Kafka and a Postgres that exist, set by REWINDOW_* variables."""
    import uvloop

    # Before Faust is imported, which makes loops of its own.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    configure_logs()
    from rewindow.node import run_node

    sys.exit(asyncio.run(run_node(NodeSettings())))


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
        str | None, typer.Argument(help="What is said; read from standard input if left out.")
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
    said = sys.stdin.read() if text is None else text
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


@app.command()
def verify(url: Url = None, data: Data = DATA_DEFAULT, as_json: AsJson = False) -> None:
    """Replay the log in a scratch space, and compare every head and row with the live ones."""
    from streams.tables.digest import Digest
    from streams.verify import verify as verified

    live = msgspec.json.decode(_client(url, data).digests(), type=list[Digest])
    agrees = True
    with tempfile.TemporaryDirectory() as scratch:
        for verdict in verified(_of_running(data), live, Path(scratch)):
            agrees = agrees and verdict.agrees
            if as_json:
                typer.echo(msgspec.json.encode(verdict).decode())
            else:
                found = verdict.found
                typer.echo(
                    f"partition {found.partition} {verdict.place:10} up to event "
                    f"{found.position}: {found.contexts} heads, {found.rows} rows: "
                    + ("as the log says" if verdict.agrees else _disagreement(verdict.expected))
                )
    if not agrees:
        raise CannotStart("the state is not what the log says; `rewindow rebuild` makes it anew")


@app.command()
def rebuild(data: Data = DATA_DEFAULT) -> None:
    """Throw tables and changelogs away and fold the log again. Every node has to be stopped.

    With REWINDOW_KAFKA set, for that deployment; else for the data folder of `rewindow up`, whose
    Kafka is started for it.
    """
    from streams.rebuild import NodesRun
    from streams.rebuild import rebuild as rebuilt

    with _stopped_deployment(data) as settings, tempfile.TemporaryDirectory() as scratch:
        try:
            for done in rebuilt(settings, Path(scratch)):
                typer.echo(
                    f"partition {done.partition}: {done.events} events folded, "
                    f"{done.rows} rows written"
                )
        except NodesRun as exc:
            raise CannotStart(str(exc)) from None


def _client(url: str | None, data: Path) -> Client:
    return Client(url or os.environ.get("REWINDOW_URL") or read_endpoints(data).http[0])


def _of_running(data: Path) -> NodeSettings:
    """The settings of what runs: by the environment, else what `up` wrote down."""
    if "REWINDOW_KAFKA" in os.environ:
        return NodeSettings()
    return NodeSettings(kafka=read_endpoints(data).kafka)


@contextmanager
def _stopped_deployment(data: Path) -> Iterator[NodeSettings]:
    if "REWINDOW_KAFKA" in os.environ:
        yield NodeSettings()
        return
    from rewindow.embedded.alone import kafka_alone

    with kafka_alone(data) as address:
        yield NodeSettings(kafka=address)


def _disagreement(expected: object) -> str:
    return (
        "can't be proven, the log no longer begins at its first event"
        if expected is None
        else f"DIFFERS, the log says {expected}"
    )


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))

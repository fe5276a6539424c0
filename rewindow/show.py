"""A context on the terminal: its messages, its window, its budget."""

from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

TEXT_CHARS: Final = 72
BAR_CHARS: Final = 40


def console() -> Console:
    """Where it is shown."""
    return Console(highlight=False)


def messages_table(messages: list[dict[str, Any]], shown: set[int] | None = None) -> Table:
    """Messages in a table; with `shown`, the seqs that the window shows are marked."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("seq", "right"),
        ("role", "left"),
        ("tokens", "right"),
        ("says", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    if shown is not None:
        table.add_column("window", justify="center")
    for message in messages:
        row = [
            str(message.get("seq", "")),
            message["role"],
            str(message["token_count"]),
            _said(message["parts"]),
        ]
        inside = shown is not None and message.get("seq") in shown
        if shown is not None:
            row.append("●" if inside else "")
        table.add_row(*row, style=None if shown is None or inside else "dim")
    return table


def window_panel(context: dict[str, Any], window: dict[str, Any]) -> Panel:
    """What the model sees, against its budget."""
    used, budget = window["used_tokens"], window["token_budget"]
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=budget, completed=min(used, budget), width=BAR_CHARS),
        Text(f"{used} of {budget} tokens"),
    )
    segments = ", ".join(f"{s['type']} {s['from_seq']}–{s['to_seq']}" for s in window["segments"])
    lines: list[RenderableType] = [
        bar,
        Text(f"{len(window['messages'])} messages: {segments or 'nothing'}"),
        Text(
            f"history: {context['last_seq']} messages, "
            f"{context['archived_seq']} of them in the archive"
        ),
    ]
    if window["needs_compaction"]:
        lines.append(Text("above its trigger: compact it, or let the policy drop the oldest"))
    title = f"window of {context['id']} at version {window['version']}"
    return Panel(Group(*lines), title=title, title_align="left", expand=False)


def seqs_shown(window: dict[str, Any]) -> set[int]:
    """The seqs of the messages that the window shows as they are."""
    return {message["seq"] for message in window["messages"] if "seq" in message}


def _said(parts: list[dict[str, Any]]) -> str:
    """The beginning of what a message says."""
    pieces = [
        str(part["text"]) if part["type"] == "text" and "text" in part else f"[{_named(part)}]"
        for part in parts
    ]
    line = " ".join(" ".join(pieces).split())
    return line if len(line) <= TEXT_CHARS else f"{line[: TEXT_CHARS - 1]}…"


def _named(part: dict[str, Any]) -> str:
    name = part.get("name") or part.get("tool_name")
    return f"{part['type']} {name}" if isinstance(name, str) else str(part["type"])

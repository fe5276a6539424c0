"""A context on the terminal: its messages, its window, its budget."""

from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

TEXT_CHARS_MAX: Final = 300
"""Of one message; no terminal is wider, and a message may have a million."""
BAR_CHARS: Final = 36
WHOLE: Final = "●"
LESSENED: Final = "◐"
LEFT_OUT: Final = "·"


def console() -> Console:
    """Where it is shown."""
    return Console(highlight=False, markup=False)


def messages_table(
    messages: list[dict[str, Any]], window: list[dict[str, Any]] | None = None
) -> Table:
    """Messages, one a line; with `window`, what it shows of them is marked (see `legend`)."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    if window is not None:
        table.add_column("")
    table.add_column("seq", justify="right")
    table.add_column("role", no_wrap=True)
    table.add_column("tokens", justify="right")
    table.add_column("says", ratio=1, no_wrap=True, overflow="ellipsis")
    shown = {message["seq"]: message["parts"] for message in window or () if "seq" in message}
    for message in messages:
        cells = [
            str(message.get("seq", "")),
            Text(_line(message["role"])),
            f"{message['token_count']:,}",
            Text(_said(message["parts"])),
        ]
        mark = _mark(message, shown)
        table.add_row(
            *cells if window is None else (mark, *cells),
            style="dim" if window is not None and mark == LEFT_OUT else None,
        )
    return table


def legend() -> Text:
    """What the marks of `messages_table` mean."""
    return Text(
        f"{WHOLE} in the window   {LESSENED} in it, some parts dropped   {LEFT_OUT} left out",
        style="dim",
    )


def window_panel(context: dict[str, Any], window: dict[str, Any]) -> Panel:
    """What the model sees, against its budget; what is archived, against the history."""
    used, budget = window["used_tokens"], window["token_budget"]
    archived, last = context["archived_seq"], context["last_seq"]
    style = "red" if used > budget else "yellow" if window["needs_compaction"] else "green"
    bars = Table.grid(padding=(0, 2, 0, 0))
    bars.add_row("budget", bar(used, budget, style), f"{used:,} of {budget:,} tokens")
    bars.add_row("archive", bar(archived, last, "blue"), f"{archived:,} of {last:,} messages")
    segments = ", ".join(f"{s['type']} {s['from_seq']}–{s['to_seq']}" for s in window["segments"])
    lines: list[RenderableType] = [
        bars,
        Text(f"{len(window['messages'])} messages in the window: {segments or 'nothing'}"),
    ]
    if window["needs_compaction"]:
        lines.append(Text("above its trigger: compact it, or let the policy drop the oldest"))
    title = Text(_line(f"window of {context['id']} at version {window['version']}"))
    return Panel(Group(*lines), title=title, title_align="left", expand=False)


def bar(part: int, whole: int, style: str) -> Text:
    """A part of a whole, in blocks, which a file and a pipe show as well as a terminal."""
    blocks = 0 if part == 0 else max(1, BAR_CHARS * min(part, whole) // whole)
    return Text.assemble(("█" * blocks, style), ("░" * (BAR_CHARS - blocks), "dim"))


def _mark(message: dict[str, Any], shown: dict[int, list[dict[str, Any]]]) -> str:
    parts = shown.get(message.get("seq", 0))
    if parts is None:
        return LEFT_OUT
    return WHOLE if parts == message["parts"] else LESSENED


def _said(parts: list[dict[str, Any]]) -> str:
    """The beginning of what a message says."""
    pieces = (
        str(part["text"]) if part["type"] == "text" and "text" in part else f"[{_named(part)}]"
        for part in parts
    )
    return _line(" ".join(pieces))


def _named(part: dict[str, Any]) -> str:
    name = part.get("name") or part.get("tool_name")
    return f"{part['type']} {name}" if isinstance(name, str) else str(part["type"])


def _line(text: str) -> str:
    """One line of a stranger's text: what would steer the terminal is taken out."""
    cut = text if len(text) <= TEXT_CHARS_MAX else f"{text[: TEXT_CHARS_MAX - 1]}…"
    return "".join(c if c.isprintable() else "�" for c in " ".join(cut.split()))

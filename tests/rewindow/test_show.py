"""What is shown of a context, as plain text."""

from typing import Any

from rich.console import Console, RenderableType

from rewindow.show import BAR_CHARS, bar, messages_table, window_panel


def plain(shown: RenderableType, width: int = 80) -> list[str]:
    """The lines that end up in a file."""
    console = Console(width=width, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


def message(text: str, seq: int = 1) -> dict[str, Any]:
    return {
        "seq": seq,
        "role": "user",
        "token_count": 1234,
        "parts": [{"type": "text", "text": text}],
    }


def test_a_message_takes_one_line_whatever_it_says() -> None:
    lines = plain(messages_table([message("word\n" * 100_000)]))
    assert len(lines) == 2
    assert lines[1].startswith("  1  user   1,234  word word")
    assert lines[1].endswith("…")
    assert len(lines[1]) == 80


def test_a_strangers_text_is_neither_markup_nor_an_order_to_the_terminal() -> None:
    said = "[/b] [red]\x1b[2J\x07\u202e ok"
    (_, line) = plain(messages_table([message(said)]))
    assert "[/b] [red]�[2J�� ok" in line


def test_a_part_that_is_no_text_shows_its_type_and_name() -> None:
    shown = message("So:")
    shown["parts"] += [{"type": "tool_call", "name": "search"}, {"type": "image"}]
    assert "So: [tool_call search] [image]" in plain(messages_table([shown]))[1]


def test_marks_say_what_the_window_shows_of_a_message() -> None:
    messages = [message("whole", 1), message("cut", 2), message("out", 3)]
    window = [message("whole", 1), message("c", 2), {**message("a summary"), "seq": None}]
    del window[2]["seq"]
    marks = [line[0] for line in plain(messages_table(messages, window))[1:]]
    assert marks == ["●", "◐", "·"]


def test_a_bar_is_empty_only_where_there_is_nothing() -> None:
    lengths = [bar(part, 1000, "red").plain.count("█") for part in (0, 1, 500, 999, 1000, 3000)]
    assert lengths == [0, 1, BAR_CHARS // 2, BAR_CHARS - 1, BAR_CHARS, BAR_CHARS]
    assert {len(bar(part, 1000, "red")) for part in (0, 1, 999, 3000)} == {BAR_CHARS}


def test_a_window_is_shown_against_its_budget() -> None:
    context = {"id": "long" * 100, "last_seq": 0, "archived_seq": 0}
    window = {
        "version": 7,
        "used_tokens": 12_000,
        "token_budget": 10_000,
        "needs_compaction": True,
        "segments": [{"type": "summary", "from_seq": 1, "to_seq": 40}],
        "messages": [message("x")],
    }
    lines = plain(window_panel(context, window))
    assert all(len(line) <= 80 for line in lines)
    assert "12,000 of 10,000 tokens" in lines[1]
    assert "0 of 0 messages" in lines[2]
    assert "1 messages in the window: summary 1–40" in lines[3]
    assert "above its trigger" in lines[4]

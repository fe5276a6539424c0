"""A worker that keeps a conversation's window small: it listens to the live stream, and when the
window needs compaction, puts a summary in the place of all but the newest messages.

    python examples/summariser.py --context chat-1

It gives the context the policy `manual`, so that nothing is dropped without a summary. Whoever
writes does not wait for it. It may be started, stopped and started twice at any time.
"""

import argparse

from models import Model, from_environment

from rewindow_client import AnyMessage, Conflict, Context, ContextFrame, Rewindow, text

KEPT = 4
"""So many of the newest messages stay as they are."""


def compact(chat: Context, model: Model) -> bool:
    """Summarise the older messages of the window; whether that was done, and not in vain."""
    window = chat.window()
    older, newest = window.messages[:-KEPT], window.messages[-KEPT:]
    if len(older) < 2 or not window.needs_compaction:
        return False
    told = "\n".join(f"{message.role}: {message.text}" for message in older)
    summary = model([{"role": "user", "content": f"Summarise in a few words:\n{told}"}])
    replacement: list[AnyMessage] = [text("system", f"Before this: {summary}"), *newest]
    try:
        chat.compact(replacement, if_version=window.version)
    except Conflict:
        # Somebody has said something in the meantime. That is told as well: then again.
        return False
    return True


def main() -> None:
    """Until the context is deleted."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--url", default="http://127.0.0.1:4000")
    asked.add_argument("--context", default="terminal-chat")
    told = asked.parse_args()
    model = from_environment()
    with Rewindow(told.url) as client:
        chat = client.context(told.context)
        chat.configure(policy={"strategy": "manual"})
        print(f"listening to {told.context}", flush=True)
        for frame in chat.follow(0, messages=False):
            if isinstance(frame, ContextFrame) and frame.needs_compaction and compact(chat, model):
                print(f"compacted at version {frame.version}", flush=True)


if __name__ == "__main__":
    main()

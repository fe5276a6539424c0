"""A chat in the terminal that never outgrows its model: what is sent stays within a token budget,
and what was said stays.

    python examples/terminal_chat.py --context chat-1 --budget 2000

Start it again with the same context, and it goes on where it was.
"""

import argparse
import sys

from models import from_environment

from rewindow_client import Rewindow, text


def main() -> None:
    """Answer each line of standard input."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--url", default="http://127.0.0.1:4000")
    asked.add_argument("--context", default="terminal-chat")
    asked.add_argument("--budget", type=int, default=2000, help="tokens that the model gets to see")
    told = asked.parse_args()
    model = from_environment()
    with Rewindow(told.url) as client:
        chat = client.context(told.context)
        chat.configure(token_budget=told.budget)
        for line in sys.stdin:
            chat.append(text("user", line.rstrip("\n")))
            window = chat.window(format="openai-chat")
            answer = model(window.request["messages"])
            said = chat.append(text("assistant", answer))
            print(answer)
            print(f"  ({window.used_tokens} of {window.token_budget} tokens, {said.last_seq} said)")


if __name__ == "__main__":
    main()

"""As much of curl as our documents use, for machines that have none. Also run as a script."""

import sys
from collections.abc import Sequence
from typing import Any

import httpx
from msgspec import Struct

QUIET = ("-s", "-S", "-N", "-sS", "-sN")


class Asked(Struct):
    """What a curl line asks for."""

    url: str = ""
    method: str = ""
    headers: dict[str, str] = {}
    body: bytes | None = None

    def options(self) -> dict[str, Any]:
        """For `httpx.request` and `httpx.stream`."""
        method = self.method or ("GET" if self.body is None else "POST")
        return {
            "method": method,
            "url": self.url,
            "headers": self.headers,
            "content": self.body,
            "timeout": 60,
            "trust_env": False,
        }


def parse(arguments: Sequence[str]) -> Asked:
    """Raises `ValueError` for an option that our documents don't use."""
    words, asked = list(arguments), Asked()
    while words:
        match words.pop(0):
            case "-X":
                asked.method = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(":")
                asked.headers[name] = value.strip()
            case "-d":
                asked.body = words.pop(0).encode()
            case quiet if quiet in QUIET:
                pass
            case url if not url.startswith("-"):
                asked.url = url
            case unknown:
                raise ValueError(f"the option {unknown} is not known here")
    return asked


def main() -> None:
    """Print what comes, as it comes."""
    with httpx.stream(**parse(sys.argv[1:]).options()) as answer:
        for text in answer.iter_text():
            sys.stdout.write(text)
            sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Counting tokens. What is counted, and in which pieces, is decided here; the encodings themselves
come in as functions.

The number is an estimate that is frozen into the message: a provider's own count differs by how it
frames messages, which is not public for all of them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, get_args

import msgspec
from msgspec import Raw, Struct

from schemas.events import EncodingName

Measure = Callable[[str], int]
"""How many tokens a text has in one encoding. Only ever called with a piece (see `pieces`)."""

ENCODINGS: Final[tuple[str, ...]] = get_args(EncodingName)

COUNTING_VERSION: Final = 1
"""The version of the rules in this file. A change that alters any count raises it."""

MESSAGE_OVERHEAD_TOKENS: Final = 4
"""What a message costs beside its parts: 3 to frame it and 1 for its role, as OpenAI's
cookbook counts chat messages ("How to count tokens with tiktoken")."""

BASE64_CHARS_MIN: Final = 1024
BASE64_TOKENS: Final = 765
"""A run of base64 this long is data, not text, and counts flat: what OpenAI states for one image of
1024 x 1024 in high detail (85 + 4 tiles of 512 x 512 x 170). As text, the shortest such run would
count about as much."""

PIECE_CHARS_MAX: Final = 8192
"""tiktoken 0.14 panics on a million spaces, because its regular expressions give up after a million
steps back. A piece of this length takes a hundredth of that, and every run of one kind of character
that was tried in it took less than 0.3 microseconds a character."""

SEAM_CHARS: Final = 512
"""How far back from the end of a piece a better place to cut is looked for."""

# The look-behind lets a run begin only at its first character: without it, each character of a run
# that is too short would be tried as a beginning.
_BASE64 = re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{BASE64_CHARS_MIN},}}+={{0,2}}")
_DATA_URL = ";base64,"
_MIX = tuple(map(re.compile, ("[0-9]", "[A-Z]", "[a-z]")))

# A letter or digit, as late as possible, before a character that can't go on with its token.
_SEAM = re.compile(r'.*[^\W_](?=[ \n",.:;()\\，。、])', re.DOTALL)

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')


class _TextPart(Struct):
    type: Literal["text"]
    text: str


_raw_parts = msgspec.json.Decoder(list[Raw])
_raw_fields = msgspec.json.Decoder(dict[str, Raw])
_text_parts = msgspec.json.Decoder(_TextPart)
_strings = msgspec.json.Decoder(str)
_encoder = msgspec.json.Encoder()


def rule_name(encoding: str) -> str:
    """The name under which counts of this encoding, by these rules, are exchanged."""
    return f"{encoding}/{COUNTING_VERSION}"


def count_message(measure: Measure, parts: Sequence[bytes]) -> int:
    """Tokens of one message, each of whose parts is given as its compact, valid JSON object.

    A part of the type `text` counts its text, and whatever else it carries as JSON; any other part
    counts as its JSON.
    """
    texts = (text for part in parts for text in _texts(part))
    return MESSAGE_OVERHEAD_TOKENS + sum(count_text(measure, text) for text in texts)


def count_parts(measure: Measure, parts: Raw) -> int:
    """Tokens of one message whose parts are a JSON list, as messages carry them."""
    return count_message(measure, [bytes(part) for part in _raw_parts.decode(parts)])


def _texts(part: bytes) -> Iterator[str]:
    """The texts that stand for a part."""
    try:
        text = _text_parts.decode(part).text
    except msgspec.ValidationError:
        yield _plain(part)
        return
    yield text
    fields = _raw_fields.decode(part)
    del fields["type"], fields["text"]
    if fields:
        yield _plain(_encoder.encode(fields))


def _plain(part: bytes) -> str:
    r"""The JSON without escapes that it could do without, such as `\/` and `\u00e9`.

    So the same part counts the same, whatever library wrote it.
    """
    if rb"\/" in part or rb"\u" in part:
        part = _STRING.sub(_rewritten, part)
    return part.decode()


def _rewritten(string: re.Match[bytes]) -> bytes:
    written = string.group()
    return _encoder.encode(_strings.decode(written)) if b"\\" in written else written


def count_text(measure: Measure, text: str) -> int:
    """Tokens of a text, base64 data in it by the flat rule. Linear in the length of the text."""
    tokens = 0
    start = 0
    for run in _BASE64.finditer(text) if len(text) >= BASE64_CHARS_MIN else ():
        if _is_data(text, *run.span()):
            tokens += sum(map(measure, pieces(text[start : run.start()]))) + BASE64_TOKENS
            start = run.end()
    return tokens + sum(map(measure, pieces(text[start:])))


def _is_data(text: str, start: int, end: int) -> bool:
    """Whether a run of base64 characters is data: a data URL says so, or it mixes digits and cases.

    A run without that is a text of its own kind, say a million times `a`.
    """
    return text.endswith(_DATA_URL, 0, start) or all(kind.search(text, start, end) for kind in _MIX)


def pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of at most `PIECE_CHARS_MAX` characters, none of them empty.

    The cut is made behind a word where there is one near the end: there both vocabularies start a
    new token anyway, and the count stays what it is for the whole text. Elsewhere, as in a long
    run of spaces, it may cost a token or two.
    """
    start = 0
    while len(text) - start > PIECE_CHARS_MAX:
        end = start + PIECE_CHARS_MAX
        seam = _SEAM.match(text, end - SEAM_CHARS, end + 1)
        if seam is not None:
            end = seam.end()
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def approximate(text: str) -> int:
    """The encoding `approximate`: four bytes of UTF-8 a token, rounded up. Needs no vocabulary."""
    return -(-len(text.encode()) // 4)

"""Every sample transcript is recognised, read without a loss, and rendered for every provider.

They lie in `REWINDOW_DATA_DIR`; where they are missing, these tests are left out and say so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from msgspec import Raw

from formats.conversations import Conversation, Incoming, conversation_back, conversations, sound
from formats.recognising import Shape, recognise
from formats.rendering import render
from rewindow.json_files import values_of
from streams.progress import unwatched
from tests.formats.validity import VALID
from tests.support.transcripts import SAMPLES, Sample


class Read(NamedTuple):
    """A file's values, and the conversations that they became, as readers get them."""

    values: list[bytes]
    shape: Shape
    contexts: list[list[bytes]]


@pytest.fixture(params=SAMPLES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def read(name: str, data_dir: Path) -> Read:
    with values_of(data_dir / name, unwatched) as values:
        found = list(values)
    shape = recognise([sound(text) for _, text in found[:64]])
    contexts = [list(stored(one)) for one in conversations(shape, found)]
    return Read([bytes(sound(text)) for _, text in found], shape, contexts)


def stored(conversation: object) -> Iterator[bytes]:
    """Each message as a node gives it back: nothing of it is changed on the way."""
    assert isinstance(conversation, Conversation), conversation
    for number, message in enumerate(conversation.messages, 1):
        assert isinstance(message, Incoming), message
        said = msgspec.json.decode(message.body, type=dict[str, Raw])
        around = {"version": 1, "token_count": 1, "inserted_at": "", "seq": number}
        yield msgspec.json.encode(around | said)


def test_every_sample_is_known(data_dir: Path) -> None:
    assert {file.name for file in data_dir.glob("*.json*")} == SAMPLES.keys()


def test_it_is_recognised_by_its_shape(name: str, read: Read) -> None:
    found = read.shape.format.name, read.shape.layout, len(read.contexts)
    assert Sample(*found, sum(map(len, read.contexts))) == SAMPLES[name]


def test_it_comes_back_to_the_letter(read: Read) -> None:
    back = [text for context in read.contexts for text in conversation_back(context)]
    assert back == read.values


@pytest.mark.parametrize("kind", VALID)
def test_every_provider_takes_it(kind: str, read: Read) -> None:
    for context in read.contexts:
        fields = render(kind, context, 0).fields
        VALID[kind](msgspec.json.decode(msgspec.json.encode(fields)))


def test_ui_messages_are_read_back_unchanged(data_dir: Path) -> None:
    with values_of(data_dir / "aisdk-uimessages.json", unwatched) as values:
        found = list(values)
    shape = recognise([sound(text) for _, text in found])
    for (_, chat), context in zip(found, conversations(shape, found), strict=True):
        fields = render("ai-sdk", list(stored(context)), 0).fields
        said = msgspec.json.decode(msgspec.json.encode(fields))["messages"]
        assert said == msgspec.json.decode(chat)["messages"]

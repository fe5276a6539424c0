"""The command line against a live node: what it prints, and what it says when it can't."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

from rewindow.cli import main
from rewindow.embedded.alone import kafka_alone
from rewindow.embedded.datafolder import DataFolder
from rewindow.endpoints import BrokerAt, Endpoints, NodeAt, write_endpoints
from tests.support.deployment import Deployment
from tests.support.history import history
from tests.support.live_node import LiveNode, live_node

COMMANDS = (
    "up",
    "node",
    "context",
    "append",
    "tail",
    "undo",
    "import",
    "verify",
    "rebuild",
    "replay",
)


class Result(NamedTuple):
    status: int
    out: str
    err: str

    def json(self) -> Any:
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[LiveNode]:
    with live_node(tmp_path_factory.mktemp("cli"), kafka, None, partitions="2") as node:
        yield node


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Type a command, in an empty folder and an environment without a word of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*argv: str, stdin: bytes = b"", **environment: str) -> Result:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["rewindow", *argv])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        return Result(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def here(node: LiveNode, run: Run) -> Run:
    """The same, told where the node is."""
    return lambda *argv, **more: run(*argv, "--url", node.url, **more)


def sentence(result: Result) -> str:
    """What a command says that fails: one sentence, and nothing else."""
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("rewindow: ")
    assert result.err.count("\n") == 1
    return result.err.removeprefix("rewindow: ").rstrip("\n")


# -- help ------------------------------------------------------------------------------------------


def test_help_says_each_command_in_a_whole_sentence(run: Run) -> None:
    shown = run("--help")
    assert (shown.status, shown.err) == (0, "")
    lines = shown.out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_its_words(run: Run, command: str) -> None:
    shown = run(command, "--help")
    assert (shown.status, shown.err) == (0, "")
    options = [line for line in shown.out.splitlines() if line.startswith("  --")]
    assert options
    assert all(len(line.split()) > 2 for line in options)
    assert "<bool>" not in shown.out


# -- conversations ---------------------------------------------------------------------------------


def test_a_conversation_on_the_command_line(here: Run) -> None:
    first = here("append", "talk", "Good morning!", "--create")
    assert first == (0, "message 1, 7 tokens, version 1\n", "")
    assert here("append", "talk", "--role", "assistant", stdin=b"Hello\nyou\n\n").status == 0
    tail = here("tail", "talk")
    assert tail.status == 0
    assert "Good morning!" in tail.out
    assert "Hello you" in tail.out
    context = here("context", "talk")
    assert context.status == 0
    assert "window of talk at version 2" in context.out
    assert "Good morning!" in context.out


def test_json_is_what_the_node_says(here: Run) -> None:
    appended = here("append", "as json", "ü", "--create", "--json").json()
    assert appended == {"first_seq": 1, "last_seq": 1, "version": 1, "token_estimates": [5]}
    (message,) = here("tail", "as json", "--json").json()["messages"]
    assert (message["seq"], message["parts"]) == (1, [{"type": "text", "text": "ü"}])
    window = here("context", "as json", "--json").json()
    assert window["messages"] == [message]
    less = here("context", "as json", "--json", "--budget", "1").json()
    assert less["over_budget"] is True


def test_what_is_read_from_standard_input_loses_one_newline_and_no_more(here: Run) -> None:
    for number, (given, kept) in enumerate(
        [(b"one\n", "one"), (b"two\r\n\n", "two\r\n"), (b"", ""), ("three ü".encode(), "three ü")]
    ):
        assert here("append", "piped", "--create", stdin=given).status == 0
        page = here("tail", "piped", "--limit", "1", "--json").json()
        assert page["messages"][0]["parts"] == [{"type": "text", "text": kept}]
        assert page["messages"][0]["seq"] == number + 1
    assert sentence(here("append", "piped", stdin=b"caf\xe9")) == (
        "standard input is not UTF-8 at byte 3; send UTF-8"
    )


def test_a_key_makes_a_retry_safe(here: Run) -> None:
    first = here("append", "retried", "once", "--create", "--key", "k")
    assert here("append", "retried", "once", "--key", "k") == first
    assert len(here("tail", "retried", "--json").json()["messages"]) == 1


def test_what_was_said_is_taken_back(here: Run) -> None:
    for text in ("one", "two", "three"):
        assert here("append", "undone", text, "--create").status == 0
    first = here("undo", "undone", "--from-seq", "2", "--key", "k")
    assert first == (0, "2 messages undone, 2 to 3, version 4\n", "")
    assert here("undo", "undone", "--from-seq", "2", "--key", "k") == first
    assert here("undo", "undone", "--from-seq", "2").out == "0 messages undone, version 4\n"
    (left,) = here("tail", "undone", "--json").json()["messages"]
    assert left["seq"] == 1
    assert here("undo", "undone", "--from-seq", "1", "--json").json() == {
        "version": 5,
        "undone": 1,
        "from_seq": 1,
        "to_seq": 1,
    }


def test_ids_may_have_anything_in_them(here: Run) -> None:
    name = "what? 100% #ü"
    assert here("append", name, "hello", "--create").status == 0
    assert f"window of {name}" in here("context", name).out


# -- import ----------------------------------------------------------------------------------------


def test_a_file_on_the_command_line(here: Run, tmp_path: Path) -> None:
    lines = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    file = tmp_path / "spoken.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    told = "spoken: 2 messages to import\n1 context: 2 messages to import, 0 skipped\n"
    assert here("import", str(file), "--dry-run") == (0, told, "")
    assert here("import", str(file)).out == told.replace("to import", "imported")
    again = here("import", str(file))
    assert again.out.endswith("1 context: 0 messages imported, 2 were there, 0 skipped\n")
    imported = here("import", str(file), "--context", "x", "--json").json()
    assert imported == {"context": "x", "appended": 2, "found": 0}
    assert len(here("tail", "spoken", "--json").json()["messages"]) == 2


def test_what_is_skipped_is_told_and_is_a_failure(here: Run, tmp_path: Path) -> None:
    file = tmp_path / "torn.jsonl"
    file.write_bytes(b'{"role":"user","content":"a"}\n{"role":\n\n\xff\n{"role":"user"}\n')
    done = here("import", str(file))
    assert done.status == 1
    first, second, imported, total = done.out.splitlines()
    assert first.startswith("skipped line 2: ")
    assert second == "skipped line 4: not valid UTF-8 at byte 0; send UTF-8"
    assert imported == "torn: 2 messages imported"
    assert total == "1 context: 2 messages imported, 2 skipped"
    assert done.err == "rewindow: 2 skipped; what is said above has each, and why\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; there is nothing to import"),
        (b"\n\n", "is empty; there is nothing to import"),
        (b"PK\x03\x04\x00\xff", "is neither JSON nor lines of JSON"),
        (b"# Notes\n\nno conversation\n", "is neither JSON nor lines of JSON"),
        (b"[1,2]", "it holds no JSON object"),
        (b'{"a":1}', "no format is known that looks like this; say with --format"),
        (b'{"messages":[', "is neither JSON nor lines of JSON"),
        (b"[" * 100_000, "is neither JSON nor lines of JSON: nested deeper"),
    ],
)
def test_a_file_of_something_else_is_one_sentence(
    here: Run, tmp_path: Path, content: bytes, says: str
) -> None:
    file = tmp_path / "odd"
    file.write_bytes(content)
    assert says in sentence(here("import", str(file)))


def test_what_is_asked_of_a_file_has_to_make_sense(here: Run, tmp_path: Path) -> None:
    two = tmp_path / "two.jsonl"
    two.write_text('{"messages":[]}\n{"messages":[{"role":"user","content":"a"}]}\n')
    for argv, says in [
        ((str(tmp_path / "none"),), "can't be read: No such file or directory"),
        ((str(tmp_path),), "can't be read: Is a directory"),
        ((str(two), "--context", "c"), "holds several conversations; give --prefix"),
        ((str(two), "--context", "c", "--prefix", "p"), "not both"),
        ((str(two), "--format", "gopher"), "it is one of openai-chat"),
        ((str(two), "--prefix", "a/"), "'/'"),
    ]:
        assert says in sentence(here("import", *argv)), argv


# -- what can't be done ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("tail", "nobody"), "no context 'nobody'; PUT it first"),
        (("append", "nobody", "hello"), "no context 'nobody'; PUT it first"),
        (("context", "nobody", "--budget", "-1"), "budget_tokens has to be a whole number from"),
        (("append", "a/b", "hello", "--create"), "the context id"),
        (("append", "c", "hello", "--create", "--role", "r" * 65), "role"),
    ],
)
def test_what_the_node_refuses_is_one_sentence(here: Run, argv: Any, says: str) -> None:
    assert says in sentence(here(*argv))


def test_where_nothing_runs_that_is_said(run: Run) -> None:
    for command in (("context", "c"), ("append", "c", "hello"), ("tail", "c"), ("verify",)):
        assert sentence(run(*command)) == (
            "nothing runs in .rewindow; start `rewindow up`, or say where with --url or --data"
        )
        said = sentence(run(*command, "--url", "http://127.0.0.1:1"))
        assert said.startswith("no node answers at http://127.0.0.1:1 (")
    assert "no node answers at nonsense" in sentence(run("tail", "c", "--url", "nonsense"))
    assert "is no address" in sentence(run("tail", "c", "--url", "http://[::x"))
    for command in (("rebuild",), ("replay", "--to-topic", "other.log")):
        assert sentence(run(*command)) == (
            "there is no data of `rewindow up` in .rewindow; say where with --data"
        )


def test_settings_are_named_as_they_were_given(run: Run) -> None:
    assert sentence(run("up", "--port", "0")).startswith("--port can't be used: ")
    assert sentence(run("up", REWINDOW_PARTITIONS="abc")) == (
        "REWINDOW_PARTITIONS can't be used: Input should be a valid integer, unable to parse "
        "string as an integer"
    )
    both = sentence(run("node", REWINDOW_PARTITIONS="0", REWINDOW_HEARTBEAT_S="x"))
    assert "REWINDOW_PARTITIONS can't be used" in both
    assert "REWINDOW_HEARTBEAT_S can't be used" in both


# -- where the node is -----------------------------------------------------------------------------


def test_a_node_is_found_by_its_data_folder_and_by_the_environment(
    node: LiveNode, run: Run, tmp_path: Path
) -> None:
    kafka = node.settings.kafka
    endpoints = Endpoints([node.url], kafka, None, [NodeAt(node.url, 1)], [BrokerAt(kafka, 1)])
    for folder in (tmp_path / "other", tmp_path / ".rewindow"):
        folder.mkdir()
        write_endpoints(folder, endpoints)
    assert run("append", "found", "1", "--create", "--data", "other").status == 0
    assert run("append", "found", "2").status == 0
    assert run("append", "found", "3", "--data", "x", REWINDOW_URL=node.url).status == 0
    assert len(run("tail", "found", "--json", REWINDOW_DATA="other").json()["messages"]) == 3
    verified = run("verify", REWINDOW_PREFIX=node.settings.prefix)
    assert verified.status == 0, verified.err


def test_rebuild_starts_the_kafka_of_an_up_that_is_stopped(run: Run, tmp_path: Path) -> None:
    data = tmp_path / ".rewindow"
    (data / "kafka").mkdir(parents=True)
    with kafka_alone(data) as kafka:
        Deployment(kafka, "rewindow", tmp_path).prepare().write(*history())
        # The folder is held, as it is by an `up` that runs.
        assert "holds the data folder" in sentence(run("rebuild"))
    rebuilt = run("rebuild")
    assert rebuilt.status == 0, rebuilt.err
    assert sorted(line.split(":")[0] for line in rebuilt.out.splitlines()) == [
        "partition 0",
        "partition 1",
    ]

    assert sorted(path.name for path in data.iterdir() if "rebuild" in path.name) == []


def test_a_rebuild_by_its_environment_leaves_nothing_behind(
    run: Run, kafka: str, prefix: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, prefix, tmp_path, partitions=2).prepare()
    deployment.write(*history())
    rebuilt = run("rebuild", REWINDOW_KAFKA=kafka, REWINDOW_PREFIX=prefix)
    assert rebuilt.status == 0, rebuilt.err
    assert not (tmp_path / ".rewindow").exists()
    (tmp_path / "mine").mkdir()
    holder = DataFolder(tmp_path / "mine" / "rebuild")
    holder.hold()
    told = {"REWINDOW_KAFKA": kafka, "REWINDOW_PREFIX": prefix, "REWINDOW_DATA": "mine"}
    assert "holds the data folder" in sentence(run("rebuild", **told))
    holder.release()


def test_a_replay_says_what_it_would_do_and_what_it_did(
    run: Run, kafka: str, prefix: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, prefix, tmp_path, partitions=1).prepare()
    deployment.write(*history())
    deployment.write_bytes((b"c", b"garbage"))
    told = {"REWINDOW_KAFKA": kafka, "REWINDOW_PREFIX": prefix}
    argv = ("replay", "--to-topic", f"{prefix}-b.log", "--partitions", "3")
    dry = run(*argv, "--dry-run", **told)
    assert dry.status == 0, dry.err
    done = run(*argv, **told)
    target = [m for p in range(3) for m in deployment.read(f"{prefix}-b.log", p)]
    size = sum(len(m.key()) + len(m.value()) for m in target)
    assert dry.out == (
        "partition 0  offsets 0 to 41: 40 events would be replayed (1 archive.advanced.v1, "
        "2 context.configured.v1, 1 context.tombstoned.v1, 34 message.appended.v1, "
        f"1 metadata.patched.v1, 1 window.compacted.v1), 3 contexts, {size} bytes; left out: "
        "1 that can't be understood\n"
    )
    assert done.out == dry.out.replace("would be replayed", "replayed")
    again = run(*argv, "--json", **told)
    assert json.loads(again.out)["events"] == {}
    late = run(*argv[:2], f"{prefix}-c.log", "--from", "2100-01-31T23:59:59+01:00", **told)
    assert late.out == "partition 0  offsets 41 to 41: 0 events replayed, 0 contexts, 0 bytes\n"
    for time in ("yesterday", "2026-01-31T23:59:59"):
        assert sentence(run(*argv, "--until", time, **told)) == (
            f"--until {time} is no time with a zone; write 2026-01-31T23:59:59Z, or +01:00 for Z"
        )


class Stranger(BaseHTTPRequestHandler):
    """Answers whatever it is asked with its name, and keeps the key that it was shown."""

    shown: str | None = None

    def do_GET(self) -> None:
        Stranger.shown = self.headers["Authorization"]
        self.send_response(404 if "context" in self.path else 200)
        self.end_headers()
        self.wfile.write(b"<html>a stranger</html>")

    def log_message(self, *_said: object) -> None:
        return


@pytest.fixture
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", [("context", "c"), ("tail", "c"), ("verify",)])
def test_a_stranger_is_no_node(run: Run, stranger: str, command: tuple[str, ...]) -> None:
    assert sentence(run(*command, "--url", stranger)) == (
        f"what answers at {stranger} is no node of Rewindow; say where one is with --url"
    )


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, None),
        ({"REWINDOW_API_KEYS": " first, second"}, "Bearer first"),
        ({"REWINDOW_API_KEY": "mine", "REWINDOW_API_KEYS": "theirs"}, "Bearer mine"),
    ],
)
def test_the_key_of_the_environment_is_shown(
    run: Run, stranger: str, environment: dict[str, str], shown: str | None
) -> None:
    run("tail", "c", "--url", stranger, **environment)
    assert Stranger.shown == shown

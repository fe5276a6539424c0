"""A real server: its rows outlive it, whoever we are and wherever the data lie."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from rewindow.embedded.postgres import Postgres
from tests.support.servers import held, running


def ask(url: str, query: Any) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


def test_rows_and_address_outlive_a_stop_and_a_kill(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with held(closed) as folder, running(Postgres(folder)) as first:
        ask(first.url, "create table kept as select 1 as n")
        url = first.url
    with held(closed) as folder, running(Postgres(folder)) as second:
        assert second.url == url
        ask(url, "insert into kept values (2)")
        assert second.pid is not None
        os.kill(second.pid, signal.SIGKILL)
        assert second.wait_ended() == -signal.SIGKILL
        second.start()
        second.wait_ready()
        assert ask(url, "select sum(n) from kept") == 3
    assert closed.stat().st_mode & 0o777 == 0o700


def test_an_initdb_that_was_cut_short_is_done_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with held(tmp_path) as folder, running(Postgres(folder)) as server:
        assert ask(server.url, "select 1") == 1
    assert not half.exists()


def test_it_listens_here_only_asks_for_a_password_and_syncs(postgres_url: str) -> None:
    assert ask(postgres_url, "show listen_addresses") == "127.0.0.1"
    assert ask(postgres_url, "show unix_socket_directories") == ""
    assert ask(postgres_url, "show fsync") == "on"
    query = "select string_agg(distinct auth_method, ' ') from pg_hba_file_rules"
    assert ask(postgres_url, query) == "scram-sha-256"
    user, _, rest = postgres_url.partition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{user}x@{rest}")


def test_the_password_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    with held(tmp_path) as folder:
        password = tmp_path / "postgres" / "password"
        url = Postgres(folder).url
        assert password.read_text() in url
        assert password.stat().st_mode & 0o777 == 0o600
        assert Postgres(folder).url == url


def test_it_never_runs_as_root(postgres_url: str) -> None:
    port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    (server,) = {
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    }
    assert server is not None
    assert 0 not in psutil.Process(server).uids()

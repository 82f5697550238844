"""Fixtures for everybody: an installation in a temporary folder, and real databases of both kinds."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.runtime import Runtime
from backend.settings import Settings, get_settings
from backend.store.database import Database

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several tests share the cores: threads of one would wait for those of another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads the settings or touches the home folder of the person who runs it."""
    for name in list(os.environ):
        if name.startswith("SYNTHSCOPE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SYNTHSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # programs that tests start find the project from any folder
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an installation in a temporary folder."""
    return Settings(home=tmp_path / "home", device="cpu", port=0)


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    """An open installation with a running engine."""
    with Runtime.open(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server of our own; gives a function that makes an empty database and returns its URL."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL server programs are not installed")
    folder = Path(tempfile.mkdtemp(prefix="synthscope-postgres-"))
    data, log = folder / "data", folder / "log"
    prefix: list[str] = []
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it")
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(programs / program), *arguments]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, f"{program} failed: {done.stderr}"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=100"
    try:
        run("initdb", "-D", str(data), "-U", "synthscope", "-A", "trust", "--no-sync", "-E", "UTF8")
        run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            yield lambda name: f"postgresql://synthscope@127.0.0.1:{port}/{name}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: Callable[[str], str]) -> Iterator[str]:
    """A fresh database on a real PostgreSQL server; skipped by name where none is installed."""
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_server(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind of database in turn."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.sqlite3'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty store with its tables, on each kind of database in turn."""
    opened = Database(database_url)
    opened.upgrade()
    yield opened
    opened.close()


def _postgres_programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parts[-2].zfill(4), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)

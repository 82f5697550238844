"""One database, two kinds: SQLite in the home folder, or PostgreSQL by URL. Sessions say whether they will write."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from backend.errors import UserError
from backend.provenance import canonical_json

BUSY_TIMEOUT_S = 30.0
WRITES = "synthscope_writes"


class Database:
    """An engine with two kinds of session.

    On SQLite a writer starts with ``BEGIN IMMEDIATE``: it waits for its turn before it reads what it will change, so a
    transaction never fails half-way for want of the lock. Writers of one process also queue on a lock of their own,
    because SQLite's own waiting polls with growing pauses.
    """

    def __init__(self, url: str) -> None:
        self.url = _normalised(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"json_serializer": canonical_json}
        if self.sqlite:
            if self.url.database:
                path = Path(self.url.database)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)  # others on this machine have no business in it
            options |= {"connect_args": {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}}
            options |= {"pool_size": 8, "max_overflow": 56}
        else:
            options |= {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 16}
        self.engine = create_engine(self.url, **options)
        if self.sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(self.engine.execution_options(**{WRITES: True}), expire_on_commit=False)
        self._turn = threading.Lock()
        self._writing = threading.local()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; on SQLite it sees one state of the database from its first query to its end."""
        with _explained(), self._readers() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in a transaction that commits at the end of the block, or rolls back on any exception.

        Raises ``RuntimeError`` when the thread already writes (it would wait for itself), and ``UserError`` when the
        disk is full or another process holds the database for longer than half a minute.
        """
        if getattr(self._writing, "now", False):
            raise RuntimeError("this thread already has a writing session open")
        self._writing.now = True
        try:
            with _explained(), self._queue(), self._writers.begin() as session:
                session.connection()  # takes the write lock before anything is read
                yield session
        finally:
            self._writing.now = False

    @contextmanager
    def _queue(self) -> Iterator[None]:
        if not self.sqlite:
            yield
            return
        with self._turn:
            yield

    def upgrade(self) -> None:
        """Bring the tables to the newest revision; safe when several processes do it at once.

        Raises ``UserError`` when the database does not answer or was made by a newer SynthScope.
        """
        from backend.store.migrate import upgrade

        try:
            upgrade(self.engine, self.engine.execution_options(**{WRITES: True}))
        except DBAPIError as error:
            explained = _user_error(error)
            if explained is None and isinstance(error, OperationalError):
                explained = UserError(
                    "The database does not answer.",
                    "Its server is not running, its address is wrong, or it refuses the user.",
                    "Check the setting database_url, start the server, and try again.",
                )
            if explained is None:
                raise
            raise explained from error

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def writes(session: Session) -> bool:
    """Whether the session was opened for writing."""
    return bool(session.connection().get_execution_options().get(WRITES))


def _normalised(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise UserError(
            "The setting database_url is not a database address.",
            what_to_do="Write it like postgresql://user:password@host/name, or leave it empty for SQLite.",
        ) from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        return url
    raise UserError(
        f"SynthScope cannot keep its store in {url.get_backend_name()}.",
        what_to_do="Set database_url to a PostgreSQL address, or leave it empty for SQLite.",
    )


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy, not the driver, says when a transaction begins; otherwise BEGIN IMMEDIATE could not be chosen.
    connection.isolation_level = None
    for pragma in ("foreign_keys = ON", "recursive_triggers = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:  # changing the journal mode does not honour the busy timeout
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        explained = _user_error(error)
        if explained is None:
            raise
        raise explained from error


def _user_error(error: DBAPIError) -> UserError | None:
    text = str(error.orig).lower()
    if "disk is full" in text or "no space left" in text:
        return UserError(
            "The disk is full.",
            "The database could not be written.",
            "Free some space and try again; nothing was lost.",
        )
    if "database is locked" in text:
        return UserError(
            "The database is busy.", "Another program holds it.", "Close other programs that use it and try again."
        )
    if "not a database" in text or "disk image is malformed" in text:
        return UserError(
            "The database file is damaged.",
            "It is not, or no longer, a SQLite database.",
            "Restore it from a backup, or use another home folder.",
        )
    if "readonly database" in text:
        return UserError(
            "The database cannot be written.", "Its file is read-only.", "Make the home folder writable and try again."
        )
    return None

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, StatementError

from backend.errors import UserError
from backend.store.database import Database
from backend.store.schema import Artifact, Engine


def engine_row(name: str, at: datetime) -> Engine:
    return Engine(id=name, place="p", pid=1, process_started=2, started_at=at, heartbeat_at=at)


def test_sqlite_has_the_pragmas_it_needs(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new' / 'store.sqlite3'}")
    with database.read() as session:
        facts = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "recursive_triggers", "synchronous")
        }
    assert facts == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 30000,
        "recursive_triggers": 1,
        "synchronous": 2,
    }
    database.close()


def test_moments_keep_their_time_zone(database: Database) -> None:
    berlin = datetime(2025, 6, 1, 14, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    with database.write() as session:
        session.add(engine_row("a", berlin))
    with database.read() as session:
        stored = session.get(Engine, "a").started_at
    assert stored == berlin
    assert stored.tzinfo == UTC
    with pytest.raises(StatementError, match="without a time zone"), database.write() as session:
        session.add(engine_row("b", datetime(2025, 6, 1)))


def test_foreign_keys_are_enforced(database: Database) -> None:
    values = {"id": "a", "kind": "k", "system": "s", "name": "n", "media_type": "m", "suffix": "", "size": 1}
    values |= {"sha256": "0", "synthetic": True, "provenance": {}, "properties": {}}
    values |= {"created_at": datetime.now(UTC), "created_by": "x"}
    with pytest.raises(DBAPIError, match=r"(?i)foreign key"), database.write() as session:
        session.add(Artifact(**values, job_id="no such job"))


def test_sqlite_writer_waits_for_its_turn_before_it_reads(tmp_path: Path) -> None:
    """Read, then write, in four threads over two pools: no update is lost and no transaction fails."""
    database = Database(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    with database.write() as session:
        session.execute(text("CREATE TABLE counter (n INTEGER)"))
        session.execute(text("INSERT INTO counter VALUES (0)"))
    other = Database(str(database.url))

    def count(where: Database) -> None:
        for _ in range(20):
            with where.write() as session:
                n = session.execute(text("SELECT n FROM counter")).scalar_one()
                time.sleep(0.0005)
                session.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})

    threads = [threading.Thread(target=count, args=(where,)) for where in (database, database, other, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.execute(text("SELECT n FROM counter")).scalar_one() == 80
    other.close()
    database.close()


def test_write_inside_a_write_fails_at_once_instead_of_waiting_for_itself(database: Database) -> None:
    with database.write(), pytest.raises(RuntimeError, match="already"), database.write():
        pass
    with database.write() as session:  # and the thread can go on writing
        session.add(engine_row("a", datetime.now(UTC)))


def test_failed_block_leaves_nothing(database: Database) -> None:

    def fail() -> None:
        with database.write() as session:
            session.add(engine_row("a", datetime.now(UTC)))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.read() as session:
        assert session.get(Engine, "a") is None


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name"])
def test_unusable_address_is_explained(url: str) -> None:
    with pytest.raises(UserError, match="database_url"):
        Database(url)


def test_server_that_does_not_answer_is_explained() -> None:
    with pytest.raises(UserError, match="does not answer"):
        Database("postgresql://nobody@127.0.0.1:1/none").upgrade()


def test_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="damaged"):
        Database(f"sqlite:///{path}").upgrade()
    assert path.read_bytes() == b"not a database at all" * 100

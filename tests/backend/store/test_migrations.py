from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from backend.errors import UserError
from backend.store.database import Database
from backend.store.migrate import MIGRATIONS, newest_revision, stored_revision
from backend.store.schema import Base


def test_upgrade_from_empty_equals_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_newest_revision_is_alembics_head() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_heads() == [newest_revision()]
    assert [script.revision for script in scripts.walk_revisions()] == sorted(
        (script.revision for script in scripts.walk_revisions()), reverse=True
    )


def test_upgrading_again_changes_nothing(database: Database) -> None:
    database.upgrade()
    with database.engine.connect() as connection:
        assert stored_revision(connection) == newest_revision()


def test_current_database_is_opened_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    Database(url).upgrade()
    program = (
        "import sys; from backend.store.database import Database;"
        f"Database({url!r}).upgrade(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match="newer SynthScope"):
        database.upgrade()


def test_processes_that_upgrade_at_once_all_succeed(database_url: str) -> None:
    command = [sys.executable, "-m", "tests.backend.store.writers", "upgrade", database_url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    database = Database(database_url)
    with database.engine.connect() as connection:
        assert stored_revision(connection) == newest_revision()
    database.close()

"""Bring a database to the newest revision. Alembic is imported only when there is something to do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from backend.errors import UserError

MIGRATIONS = Path(__file__).parent / "migrations"
UPGRADE_LOCK = 0x5359_4E54_4855_5047  # any constant: an advisory lock of PostgreSQL that only upgrades take


def newest_revision() -> str:
    """The revision this code needs: files are named ``<revision>_<what>.py`` and numbered without branches."""
    return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def stored_revision(connection: Connection) -> str:
    """The revision of a database, '' for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def upgrade(reader: Engine, writer: Engine) -> None:
    """Run missing migrations in one transaction, one process at a time.

    Raises ``UserError`` when the database is newer than this code.
    """
    newest = newest_revision()
    with reader.connect() as connection:
        found = stored_revision(connection)
    if found == newest:
        return
    if found > newest:
        raise UserError(
            "This home folder was made by a newer SynthScope.",
            f"Its database has revision {found}, this program knows up to {newest}.",
            "Update SynthScope, or use another home folder.",
        )
    with writer.begin() as connection:  # on SQLite BEGIN IMMEDIATE keeps the other processes out
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        if stored_revision(connection) == newest:
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

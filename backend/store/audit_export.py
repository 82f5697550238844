"""The audit log as a file: CSV for a spreadsheet, JSON for a program that wants to check the chain itself."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, cast

from sqlalchemy import Table, select

from backend.errors import UserError
from backend.notices import RESEARCH_ONLY
from backend.store.audit import GENESIS
from backend.store.audit_check import chain
from backend.store.database import Database
from backend.store.files import written
from backend.store.schema import AuditEvent

COLUMNS = ("seq", "at", "actor", "role", "action", "subject", "old", "new", "reason", "previous", "hash")

_table = cast(Table, AuditEvent.__table__)


def export(database: Database, path: Path, format: Literal["csv", "json"]) -> Path:
    """Write every event that exists now. ``old`` and ``new`` stay the canonical JSON texts that were hashed."""
    with database.read() as session:
        last = session.execute(select(_table.c.seq, _table.c.hash).order_by(_table.c.seq.desc()).limit(1)).first()
    facts: dict[str, Any] = {
        "notice": RESEARCH_ONLY,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": last.seq if last else 0,
        "head": last.hash if last else GENESIS,
    }
    writers = {"csv": _csv, "json": _json}
    if format not in writers:
        raise UserError(f"The audit log cannot be exported as {format!r}.", what_to_do="Choose csv or json.")
    with written(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writers[format](file, facts, database, facts["events"])
    return path


def _csv(file: IO[str], facts: dict[str, Any], database: Database, last: int) -> None:
    for name, value in facts.items():
        file.write(f"# {value}\n" if name == "notice" else f"# {name}: {value}\n")
    table = csv.writer(file)
    table.writerow(COLUMNS)
    for row in chain(database, last):
        table.writerow([_harmless(row._mapping[name]) for name in COLUMNS])


def _harmless(value: Any) -> Any:
    """A cell that a spreadsheet will not run as a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value


def _json(file: IO[str], facts: dict[str, Any], database: Database, last: int) -> None:
    head = json.dumps(facts, ensure_ascii=False, indent=1).removesuffix("\n}")
    file.write(f'{head},\n "chain": [')
    for index, row in enumerate(chain(database, last)):
        file.write(",\n  " if index else "\n  ")
        file.write(json.dumps({name: row._mapping[name] for name in COLUMNS}, ensure_ascii=False))
    file.write("\n ]\n}\n")

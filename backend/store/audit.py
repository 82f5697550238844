"""The audit log: who changed what, when, from what to what, and why; each event sealed with the hash of the one before.

The chain is tamper-evident: whoever can write to the database files can change them, but not without ``verify``
showing where, as long as a head hash is kept somewhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import Row, Select, Table, func, insert, or_, select, text
from sqlalchemy.orm import Session

from backend.identity import Actor
from backend.provenance import canonical_json
from backend.store.database import Database, writes
from backend.store.schema import AuditEvent

GENESIS = "0" * 64
CHAIN_LOCK = 0x5359_4E54_4841_5544  # any constant: an advisory lock of PostgreSQL that only appends take

_table = cast(Table, AuditEvent.__table__)
_LAST = select(_table.c.seq, _table.c.hash).order_by(_table.c.seq.desc()).limit(1)
_INSERT = insert(_table)
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


@dataclass(frozen=True)
class AuditEventView:
    """One event. ``old`` and ``new`` are plain JSON values; ``hash`` covers everything else and ``previous``."""

    seq: int
    at: datetime
    actor: str
    role: str
    action: str
    subject: str
    old: Any
    new: Any
    reason: str
    previous: str
    hash: str


@dataclass(frozen=True)
class Verification:
    """What a walk along the chain found. ``broken_at`` is the number of the first broken or missing event.

    ``guarded`` says whether the triggers are in place by which the database itself refuses changes.
    """

    ok: bool
    events: int
    head: str
    broken_at: int | None = None
    reason: str = ""
    guarded: bool = True


def event_hash(
    *,
    seq: int,
    at: str,
    actor: str,
    role: str,
    action: str,
    subject: str,
    old: str | None,
    new: str | None,
    reason: str,
    previous: str,
) -> str:
    """SHA-256, in hex, of an event's canonical JSON. ``old`` and ``new`` are canonical JSON texts, hashed as text."""
    values = {
        "seq": seq,
        "at": at,
        "actor": actor,
        "role": role,
        "action": action,
        "subject": subject,
        "old": old,
        "new": new,
        "reason": reason,
        "previous": previous,
    }
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


class AuditLog:
    """Appends to the chain, reads it, checks it. Several threads and processes may append at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        session: Session,
        *,
        actor: Actor,
        action: str,
        subject: str,
        old: Any = None,
        new: Any = None,
        reason: str = "",
    ) -> AuditEventView:
        """Append an event in the transaction of the change it describes: both are kept, or neither.

        Call it after the change itself: from here to the commit no other process can append. ``old`` and ``new`` must
        be plain JSON values without NaN (``ValueError``). Raises ``RuntimeError`` on a session that only reads.
        """
        if not writes(session):
            raise RuntimeError("an audit event must be recorded in a writing session")
        if not self._database.sqlite:  # on SQLite, BEGIN IMMEDIATE has the same effect
            session.execute(_LOCK, {"key": CHAIN_LOCK})
        last = session.execute(_LAST).first()
        moment = datetime.now(UTC)
        values: dict[str, Any] = {
            "seq": last.seq + 1 if last else 1,
            "at": moment.isoformat(timespec="microseconds"),
            "actor": _clean(actor.name),
            "role": _clean(actor.role),
            "action": action,
            "subject": _clean(subject),
            "old": None if old is None else canonical_json(old),
            "new": None if new is None else canonical_json(new),
            "reason": _clean(reason),
            "previous": last.hash if last else GENESIS,
        }
        values["hash"] = event_hash(**values)
        session.execute(_INSERT, values)
        return AuditEventView(**(values | {"at": moment, "old": old, "new": new}))

    def append(
        self, *, actor: Actor, action: str, subject: str, old: Any = None, new: Any = None, reason: str = ""
    ) -> AuditEventView:
        """Append an event in a transaction of its own, for what changes nothing in the database."""
        with self._database.write() as session:
            return self.record(session, actor=actor, action=action, subject=subject, old=old, new=new, reason=reason)

    def events(self, *, limit: int = 100, offset: int = 0, **filters: Any) -> Sequence[AuditEventView]:
        """Events, newest first. Filters, all optional: ``action``, ``actor``, ``subject`` (equal), ``since``, ``until``
        (aware datetimes, inclusive), ``text`` (anywhere in the event, ignoring case)."""
        query = _filtered(select(_table), **filters).order_by(_table.c.seq.desc()).limit(limit).offset(offset)
        with self._database.read() as session:
            return [view(row) for row in session.execute(query)]

    def count(self, **filters: Any) -> int:
        """How many events match; the filters of :meth:`events`."""
        with self._database.read() as session:
            return session.execute(_filtered(select(func.count()).select_from(_table), **filters)).scalar_one()

    def actions(self) -> Sequence[str]:
        """The kinds of action that occur, in alphabetical order."""
        with self._database.read() as session:
            return list(session.execute(select(_table.c.action).distinct().order_by(_table.c.action)).scalars())

    def head(self) -> str:
        """The hash of the newest event: keep it outside the database to be able to notice a cut-off tail."""
        with self._database.read() as session:
            last = session.execute(_LAST).first()
        return last.hash if last else GENESIS

    def verify(self, expected_head: str | None = None) -> Verification:
        """Recompute the chain from its beginning, in bounded memory.

        ``expected_head`` is a head hash kept outside: the chain must still contain it.
        """
        from backend.store.audit_check import verify

        return verify(self._database, expected_head)

    def export(self, path: Path, format: Literal["csv", "json"] = "csv") -> Path:
        """Write the whole log to a file, with the head hash and the research-only line. Returns ``path``."""
        from backend.store.audit_export import export

        return export(self._database, path, format)


def view(row: Row[Any]) -> AuditEventView:
    """A stored event as others see it."""
    values = dict(row._mapping)
    for name in ("old", "new"):
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return AuditEventView(**(values | {"at": datetime.fromisoformat(values["at"])}))


def _filtered(
    query: Select[Any],
    *,
    action: str = "",
    actor: str = "",
    subject: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    text: str = "",
) -> Select[Any]:
    for column, value in ((_table.c.action, action), (_table.c.actor, actor), (_table.c.subject, subject)):
        if value:
            query = query.where(column == value)
    if since is not None:
        query = query.where(_table.c.at >= since.astimezone(UTC).isoformat(timespec="microseconds"))
    if until is not None:
        query = query.where(_table.c.at <= until.astimezone(UTC).isoformat(timespec="microseconds"))
    if text:
        names = ("actor", "role", "action", "subject", "old", "new", "reason", "hash")
        query = query.where(or_(*(_table.c[name].icontains(text, autoescape=True) for name in names)))
    return query


def _clean(value: str) -> str:
    """Text that both databases can store: no zero characters, no lone surrogates."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()

"""Walk along the audit chain and name the first event that is not as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import Row, Table, select, text

from backend.store.audit import GENESIS, Verification, event_hash
from backend.store.database import Database
from backend.store.schema import AuditEvent

BATCH = 1000

_table = cast(Table, AuditEvent.__table__)

_GUARDS = {
    True: (
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_events'",
        {"audit_events_no_update", "audit_events_no_delete", "audit_events_continue"},
    ),
    False: (
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit_events'::regclass AND tgenabled = 'A'",
        {"audit_events_no_change", "audit_events_continue"},
    ),
}


def chain(database: Database, last: int | None = None) -> Iterator[Row[Any]]:
    """All events in order, up to number ``last``, a thousand in memory at a time."""
    after: int | None = None
    while True:
        query = select(_table).order_by(_table.c.seq).limit(BATCH)
        if after is not None:
            query = query.where(_table.c.seq > after)
        if last is not None:
            query = query.where(_table.c.seq <= last)
        with database.read() as session:
            rows = session.execute(query).all()
        yield from rows
        if len(rows) < BATCH:
            return
        after = rows[-1].seq


def verify(database: Database, expected_head: str | None = None) -> Verification:
    """Recompute every hash. Events appended during the walk are included or not, never half.

    A broken chain is reported at its first break with the number of sound events before it. ``expected_head`` may be
    the head of any earlier moment: a chain that has grown since still contains it.
    """
    return replace(_walk(database, expected_head), guarded=guarded(database))


def guarded(database: Database) -> bool:
    """Whether the triggers that refuse changes of the audit table exist and are switched on."""
    query, names = _GUARDS[database.sqlite]
    with database.read() as session:
        return names <= set(session.execute(text(query)).scalars())


def _walk(database: Database, expected_head: str | None) -> Verification:
    expected = expected_head.strip().lower() if expected_head else None
    found = expected in (None, GENESIS)
    count, head = 0, GENESIS
    for row in chain(database):
        number = count + 1
        reason = ""
        if row.seq != number:
            missing = f"event {number} is" if row.seq == number + 1 else f"events {number} to {row.seq - 1} are"
            reason = f"Before event {row.seq}, {missing} missing." if row.seq > number else "Events are misnumbered."
        elif row.previous != head:
            reason = f"Event {number} does not continue from the event before it."
        elif event_hash(**{k: v for k, v in row._mapping.items() if k != "hash"}) != row.hash:
            reason = f"Event {number} is not as it was written: its content and its hash disagree."
        if reason:
            return Verification(False, count, head, number, reason)
        count, head = number, row.hash
        found = found or row.hash == expected
    if not found:
        reason = (
            "The chain is whole in itself but does not contain the expected head: its end was cut off, or all of it "
            "was written anew."
        )
        return Verification(False, count, head, count + 1, reason)
    return Verification(True, count, head)

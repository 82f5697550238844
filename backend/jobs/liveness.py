"""Which engines still live, and what becomes of the jobs of those that do not.

Several processes may run an engine on one database: a server and a command, say. A job belongs to the engine that
accepted it and runs there. An engine that starts, and every engine now and then, looks for engines whose process has
ended and settles their jobs: running ones are interrupted, queued ones move over.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update

from backend.jobs.table import JobTable
from backend.store.database import Database
from backend.store.processes import ProcessIdentity
from backend.store.schema import Engine

HEARTBEAT_S = 10.0
#: An engine on another machine counts as gone after this long without a heartbeat.
SILENCE_S = 60.0


class Liveness:
    """One engine's own row, and its view of the others."""

    def __init__(self, database: Database, table: JobTable) -> None:
        self.id = secrets.token_urlsafe(16)
        self._database = database
        self._table = table

    def register(self) -> None:
        """Make this engine known to the others."""
        process = ProcessIdentity.current()
        now = datetime.now(UTC)
        with self._database.write() as session:
            session.add(
                Engine(
                    id=self.id,
                    place=process.place,
                    pid=process.pid,
                    process_started=process.started,
                    started_at=now,
                    heartbeat_at=now,
                )
            )

    def beat(self) -> bool:
        """Say that this engine lives. False when the others have given it up; it has to register again."""
        with self._database.write() as session:
            beat = update(Engine).where(Engine.id == self.id).values(heartbeat_at=datetime.now(UTC))
            return session.execute(beat.returning(Engine.id)).first() is not None

    def bury_the_dead(self, adopter: str | None) -> tuple[int, int]:
        """Settle the jobs of engines that are gone. Returns how many were interrupted, and how many moved over."""
        interrupted = adopted = 0
        with self._database.read() as session:
            others = session.execute(select(Engine).where(Engine.id != self.id)).scalars().all()
        for other in others:
            if self._lives(other):
                continue
            ended, moved = self._table.interrupt(other.id, adopter)
            interrupted, adopted = interrupted + ended, adopted + moved
            self._forget(other.id)
        return interrupted, adopted

    def leave(self) -> None:
        """Settle this engine's own jobs at an orderly end: queued ones wait for the next engine."""
        self._table.interrupt(self.id, None)
        self._forget(self.id)

    def _forget(self, engine_id: str) -> None:
        with self._database.write() as session:
            session.execute(delete(Engine).where(Engine.id == engine_id))

    @staticmethod
    def _lives(other: Engine) -> bool:
        alive = ProcessIdentity(other.place, other.pid, other.process_started).alive()
        if alive is None:
            return datetime.now(UTC) - other.heartbeat_at < timedelta(seconds=SILENCE_S)
        return alive

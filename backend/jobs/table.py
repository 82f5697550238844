"""Jobs as rows: every change of state in one transaction with its audit event. Any engine can stand on this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any, cast

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.errors import UserError
from backend.identity import SYSTEM, Actor
from backend.ids import new_id
from backend.jobs.contract import JobState, JobView
from backend.store.audit import AuditLog
from backend.store.database import Database
from backend.store.schema import Artifact, Job

ACTIVE = (JobState.QUEUED.value, JobState.RUNNING.value)
HISTORY = 50

INTERRUPTED = {
    "what": "The job was interrupted.",
    "why": "SynthScope ended while it was running.",
    "what_to_do": "Start it again; results it had already stored are kept.",
}


@dataclass(frozen=True)
class Claimed:
    """A job that an engine has taken from the queue."""

    id: str
    system: str
    action: str
    request: dict[str, Any]
    actor: Actor


class JobTable:
    """Reads and changes job rows. Methods that an engine calls name the engine, so that none touches another's job."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def add(self, system: str, action: str, request: dict[str, Any], actor: Actor, owner: str | None) -> str:
        """Queue a job and return its id. ``owner`` is the engine that will run it, ``None`` for whichever starts."""
        job_id = new_id()
        with self._database.write() as session:
            session.add(
                Job(
                    id=job_id,
                    system=system,
                    action=action,
                    state=JobState.QUEUED,
                    request=request,
                    owner=owner,
                    created_at=datetime.now(UTC),
                    created_by=actor.name,
                    created_role=actor.role,
                )
            )
            session.flush()
            new = {"state": JobState.QUEUED, "system": system, "action": action, "request": request}
            self._record(session, job_id, actor, "job.submit", new=new)
        return job_id

    def claim(self, owner: str, device: str) -> Claimed | None:
        """Take the oldest queued job of an engine, ``None`` when there is none."""
        oldest = (
            select(Job.number).where(Job.state == JobState.QUEUED, Job.owner == owner).order_by(Job.number).limit(1)
        )
        while True:
            with self._database.read() as session:
                number = session.execute(oldest).scalar()
            if number is None:
                return None
            now = datetime.now(UTC)
            with self._database.write() as session:
                row = session.execute(
                    update(Job)
                    .where(Job.number == number, Job.state == JobState.QUEUED, Job.owner == owner)
                    .values(state=JobState.RUNNING, started_at=now, device=device)
                    .returning(Job)
                ).scalar()
                if row is not None:
                    actor = Actor(row.created_by, row.created_role)
                    return Claimed(row.id, row.system, row.action, row.request, actor)
            # Somebody cancelled it, or another worker was faster: look again.

    def progress(self, job_id: str, owner: str, done: float, total: float, note: str, eta_s: float | None) -> None:
        """Store how far a running job is."""
        with self._database.write() as session:
            session.execute(
                update(Job)
                .where(Job.id == job_id, Job.owner == owner, Job.state == JobState.RUNNING)
                .values(done=done, total=total, note=note, eta_s=eta_s, progress_at=datetime.now(UTC))
            )

    def finish(
        self,
        job_id: str,
        owner: str,
        state: JobState,
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, str] | None = None,
        actor: Actor = SYSTEM,
    ) -> bool:
        """Give a running job its final state. False when it was no longer this engine's to finish."""
        with self._database.write() as session:
            values: dict[str, Any] = {"state": state, "finished_at": datetime.now(UTC), "eta_s": None}
            values |= {"result": result, "error": error}
            mine = (Job.id == job_id, Job.owner == owner, Job.state == JobState.RUNNING)
            if session.execute(update(Job).where(*mine).values(**values).returning(Job.number)).scalar() is None:
                return False
            self._record_end(session, job_id, JobState.RUNNING, state, error, actor)
        return True

    def request_cancel(self, job_id: str, actor: Actor) -> JobState:
        """Cancel a queued job, or ask a running one to stop. Returns the state it was in; final ones are left alone."""
        with self._database.write() as session:
            row = _found(session, job_id, lock=True)
            state = JobState(row.state)
            if state is JobState.QUEUED:
                row.state = JobState.CANCELLED
                row.finished_at = datetime.now(UTC)
                session.flush()
                self._record_end(session, job_id, state, JobState.CANCELLED, None, actor)
            elif state is JobState.RUNNING and not row.cancel_requested:
                row.cancel_requested = True
                session.flush()
                self._record(session, job_id, actor, "job.cancel", new={"cancel_requested": True})
        return state

    def cancel_requests(self, owner: str) -> Sequence[str]:
        """Ids of an engine's running jobs that somebody, in any process, has asked to stop."""
        wanted = (Job.owner == owner, Job.state == JobState.RUNNING, Job.cancel_requested)
        with self._database.read() as session:
            return list(session.execute(select(Job.id).where(*wanted)).scalars())

    def interrupt(self, owner: str, adopter: str | None) -> tuple[int, int]:
        """Settle the jobs of an engine that is gone: running ones are interrupted, queued ones change their owner.

        Returns how many of each.
        """
        with self._database.write() as session:
            mine = (Job.owner == owner, Job.state == JobState.RUNNING)
            values = {"state": JobState.INTERRUPTED, "finished_at": datetime.now(UTC), "eta_s": None}
            running = session.execute(
                update(Job).where(*mine).values(**values, error=INTERRUPTED).returning(Job.id)
            ).scalars()
            ended = list(running)
            waiting = (Job.owner == owner, Job.state == JobState.QUEUED)
            queued = session.execute(update(Job).where(*waiting).values(owner=adopter).returning(Job.number)).all()
            for job_id in ended:
                self._record_end(session, job_id, JobState.RUNNING, JobState.INTERRUPTED, INTERRUPTED, SYSTEM)
            return len(ended), len(queued)

    def adopt(self, owner: str) -> int:
        """Take the queued jobs that belong to no engine; returns how many."""
        with self._database.read() as session:
            if not session.execute(select(Job.number).where(*_ORPHANED).limit(1)).first():
                return 0
        with self._database.write() as session:
            return len(session.execute(update(Job).where(*_ORPHANED).values(owner=owner).returning(Job.number)).all())

    def view(self, job_id: str) -> Job:
        """One row. Raises ``UserError`` when there is none of that id."""
        with self._database.read() as session:
            return _found(session, job_id)

    def rows(self, *, active: bool, system: str, limit: int) -> Sequence[Job]:
        """Rows, newest first."""
        query = select(Job).order_by(Job.number.desc()).limit(limit)
        if active:
            query = query.where(Job.state.in_(ACTIVE))
        if system:
            query = query.where(Job.system == system)
        with self._database.read() as session:
            return list(session.execute(query).scalars())

    def has_queued(self, owner: str) -> bool:
        """Whether an engine has something to do."""
        query = select(Job.number).where(Job.owner == owner, Job.state == JobState.QUEUED).limit(1)
        with self._database.read() as session:
            return session.execute(query).first() is not None

    def ahead(self, row: Job) -> Sequence[tuple[str, str, str, float]]:
        """System, action, state and seconds run so far of the jobs that stand before a queued one."""
        query = (
            select(Job)
            .where(Job.state.in_(ACTIVE), Job.number < row.number)
            .where(Job.owner == row.owner if row.owner else Job.owner.is_(None))
            .order_by(Job.number)
        )
        with self._database.read() as session:
            found = session.execute(query).scalars().all()
        return [(job.system, job.action, job.state, elapsed_s(job) or 0.0) for job in found]

    def artifacts(self, job_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Ids of what jobs have stored, oldest first, by job id."""
        found: dict[str, list[str]] = {job_id: [] for job_id in job_ids}
        query = select(Artifact.job_id, Artifact.id).where(Artifact.job_id.in_(job_ids))
        with self._database.read() as session:
            for job_id, artifact_id in session.execute(query.order_by(Artifact.created_at, Artifact.id)):
                found[cast(str, job_id)].append(artifact_id)
        return {job_id: tuple(ids) for job_id, ids in found.items()}

    def expected_seconds(self, system: str, action: str) -> float | None:
        """Median duration of the latest fifty finished jobs of an action, in seconds."""
        query = (
            select(Job.started_at, Job.finished_at)
            .where(Job.system == system, Job.action == action, Job.state == JobState.DONE)
            .order_by(Job.number.desc())
            .limit(HISTORY)
        )
        with self._database.read() as session:
            times = [(end - start).total_seconds() for start, end in session.execute(query) if start and end]
        return median(times) if times else None

    def _record_end(
        self,
        session: Session,
        job_id: str,
        old: JobState,
        new: JobState,
        error: dict[str, str] | None,
        actor: Actor,
    ) -> None:
        values: dict[str, Any] = {"state": new}
        made = session.execute(select(Artifact.id).where(Artifact.job_id == job_id)).scalars().all()
        if made:
            values["artifacts"] = sorted(made)
        if error:
            values["error"] = error["what"]
        self._record(session, job_id, actor, f"job.{new}", old={"state": old}, new=values)

    def _record(self, session: Session, job_id: str, actor: Actor, action: str, **values: Any) -> None:
        self._audit.record(session, actor=actor, action=action, subject=f"job:{job_id}", **values)


_ORPHANED = (Job.state == JobState.QUEUED, Job.owner.is_(None))


def _found(session: Session, job_id: str, *, lock: bool = False) -> Job:
    query = select(Job).where(Job.id == job_id)
    row = session.execute(query.with_for_update() if lock else query).scalar()
    if row is None:
        raise UserError(
            "There is no such job.", "Its id is wrong, or it belongs to another installation.", "Start it again."
        )
    return row


def elapsed_s(row: Job) -> float | None:
    """Seconds a job has run so far or in all, ``None`` before it started."""
    if row.started_at is None:
        return None
    return ((row.finished_at or datetime.now(UTC)) - row.started_at).total_seconds()


def job_view(
    row: Job, *, position: int | None, eta_s: float | None, has_preview: bool, made: tuple[str, ...]
) -> JobView:
    """A row as pages see it."""
    return JobView(
        id=row.id,
        system=row.system,
        action=row.action,
        state=JobState(row.state),
        request=row.request,
        result=row.result,
        error=row.error,
        done=row.done,
        total=row.total,
        note=row.note,
        has_preview=has_preview,
        position=position,
        eta_s=eta_s,
        elapsed_s=elapsed_s(row),
        created_at=row.created_at,
        created_by=row.created_by,
        artifacts=made,
        cancelling=row.cancel_requested and row.state == JobState.RUNNING,
    )

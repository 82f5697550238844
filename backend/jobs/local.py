"""The embedded engine: worker threads in this process, a group for each device, first come first served.

A job belongs to the engine that accepted it. A second process with an engine on the same database (a command beside a
running server) runs its own jobs and leaves the others alone; see ``liveness`` for what happens when one dies.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.catalogue import CATALOGUE, Catalogue
from backend.errors import UserError
from backend.identity import SYSTEM, Actor
from backend.jobs.context import LocalContext
from backend.jobs.contract import JobCancelled, JobState, JobView
from backend.jobs.devices import devices
from backend.jobs.liveness import HEARTBEAT_S, Liveness
from backend.jobs.previews import Previews
from backend.jobs.serialise import dump_request, dump_result, load_request
from backend.jobs.table import INTERRUPTED, Claimed, JobTable, elapsed_s, job_view
from backend.settings import Settings
from backend.store.artifacts import ArtifactStore
from backend.store.audit import AuditLog
from backend.store.database import Database
from backend.store.schema import Job

if TYPE_CHECKING:
    from backend.weights import Weights

#: How often an engine looks for requests to cancel that came through another process, in seconds.
LOOK_S = 1.0

log = logging.getLogger(__name__)


class LocalEngine:
    """Runs jobs in threads of this process; implements :class:`backend.jobs.contract.JobEngine`.

    ``adopt`` says whether queued jobs that no living engine owns are taken over: a server does, a command that only
    wants its own job done does not.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        audit: AuditLog,
        artifacts: ArtifactStore,
        weights: Weights,
        folder: Path | None = None,
        catalogue: Catalogue = CATALOGUE,
        adopt: bool = True,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._artifacts = artifacts
        self._weights = weights
        self._adopt = adopt
        self._table = JobTable(database, audit)
        self._previews = Previews(folder or settings.home / "jobs")
        self._liveness = Liveness(database, self._table)
        self._changed = threading.Condition()
        self._news = 0  # counts what a worker or waiter may have been waiting for
        self._running: dict[str, LocalContext] = {}
        self._unfinished: list[Callable[[], object]] = []
        self._threads: list[threading.Thread] = []
        self._started = False
        self._stopping = threading.Event()

    def start(self) -> None:
        """Settle the jobs of dead engines, then take queued ones."""
        if self._started:
            return
        self._liveness.register()
        self._started = True
        self._settle_others()
        self._spawn("jobs-watch", self._watch)
        self._spawn("jobs-0", self._first_worker)

    def submit(self, system: str, action: str, request: Any, *, actor: Actor) -> str:
        """Queue one call of an action and return the job's id.

        Raises ``UserError`` on an unknown action or a request that the action does not take. Without :meth:`start`
        the job waits for the next engine that starts.
        """
        values = dump_request(self._catalogue.action(system, action), request)
        owner = self._liveness.id if self._started and not self._stopping.is_set() else None
        job_id = self._table.add(system, action, values, actor, owner)
        self._announce()
        return job_id

    def view(self, job_id: str) -> JobView:
        """The job as it stands. Raises ``UserError`` when there is no such job."""
        row = self._table.view(job_id)
        return self._view(row, self._table.artifacts([row.id])[row.id])

    def list(self, *, active: bool = False, system: str = "", limit: int = 50) -> Sequence[JobView]:
        """Newest first."""
        rows = self._table.rows(active=active, system=system, limit=limit)
        made = self._table.artifacts([row.id for row in rows])
        return [self._view(row, made[row.id]) for row in rows]

    def preview(self, job_id: str) -> bytes | None:
        """The last PNG preview, kept after a cancel. Raises ``UserError`` when there is no such job."""
        self._table.view(job_id)
        return self._previews.get(job_id)

    def cancel(self, job_id: str, *, actor: Actor) -> None:
        """Ask a job to stop; a queued one stops at once, a running one at its next check, a finished one not at all."""
        self._table.request_cancel(job_id, actor)
        context = self._running.get(job_id)
        if context is not None:
            context.cancel()
        self._announce()

    def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        """Block until the job is final. Raises ``TimeoutError``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            news = self._news
            view = self.view(job_id)
            if view.state.final:
                return view
            left = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"job {job_id} is {view.state} after {timeout} s")
            # A job of another process announces nothing here; it is looked at again each second.
            self._await_news(news, left)

    def expected_seconds(self, system: str, action: str) -> float | None:
        """Median duration of this installation's finished jobs of that action, ``None`` before the first."""
        return self._table.expected_seconds(system, action)

    def stop(self, *, timeout: float = 10.0) -> None:
        """Make running jobs stop at their next check and join the workers.

        Such jobs become ``interrupted``, because nobody asked for their end; queued ones wait for the next start.
        """
        if not self._started or self._stopping.is_set():
            return
        self._stopping.set()
        for context in list(self._running.values()):
            context.cancel()
        self._announce()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._retry_unfinished()
        self._liveness.leave()

    # Workers

    def _spawn(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        # Daemons: a job that never checks for cancellation must not keep the program from ending.
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _announce(self) -> None:
        with self._changed:
            self._news += 1
            self._changed.notify_all()

    def _await_news(self, seen: int, timeout: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._news != seen, timeout)

    def _first_worker(self) -> None:
        """Wait for the first job before asking for devices: that may load torch."""
        if not self._await_job():
            return
        problem: Exception | None = None
        try:
            places = devices(self._settings)
        except Exception as error:
            log.exception("no device for jobs")
            places, problem = ["cpu"], error
        for place in places:
            for index in range(self._settings.job_workers):
                if (place, index) != (places[0], 0):
                    self._spawn(f"jobs-{place}-{index}", self._work, place, problem)
        self._work(places[0], problem)

    def _await_job(self) -> bool:
        """Block until something is queued; false when the engine stops first."""
        while not self._stopping.is_set():
            news = self._news
            if self._table.has_queued(self._liveness.id):
                return True
            self._await_news(news)
        return False

    def _work(self, device: str, problem: Exception | None) -> None:
        while self._await_job():
            try:
                claimed = self._table.claim(self._liveness.id, device)
                if claimed is not None:
                    self._run(claimed, device, problem)
            except Exception:
                log.exception("a worker could not reach the database")
                self._stopping.wait(LOOK_S)

    def _run(self, claimed: Claimed, device: str, problem: Exception | None) -> None:
        state, result, error = JobState.FAILED, None, None
        context: LocalContext | None = None
        try:
            if problem is not None:
                raise problem
            action = self._catalogue.action(claimed.system, claimed.action)
            request = load_request(action, claimed.request)
            context = LocalContext(
                claimed,
                request,
                device=device,
                owner=self._liveness.id,
                table=self._table,
                previews=self._previews,
                artifacts=self._artifacts,
                weights=self._weights,
            )
            self._running[claimed.id] = context
            if self._stopping.is_set() or self._table.view(claimed.id).cancel_requested:
                context.cancel()  # asked for between the claim and this moment
            context.check_cancelled()
            result = dump_result(action, action.run(request, context))
            state = JobState.DONE
        except JobCancelled:
            state = JobState.CANCELLED
            if self._stopping.is_set() and not self._table.view(claimed.id).cancel_requested:
                state, error = JobState.INTERRUPTED, INTERRUPTED
        except UserError as mistake:
            error = mistake.as_dict()
            log.info("job %s failed: %s", claimed.id, mistake.what)
        except MemoryError:
            error = _OUT_OF_MEMORY.as_dict()
            log.warning("job %s ran out of memory", claimed.id)
        except BaseException as bug:
            error = _out_of_device_memory(bug) or _reported(claimed, bug)
        if context is not None:
            context.flush()
        self._settle(claimed.id, state, result, error)
        self._running.pop(claimed.id, None)
        self._announce()

    def _settle(
        self, job_id: str, state: JobState, result: dict[str, Any] | None, error: dict[str, str] | None
    ) -> None:
        def finish() -> None:
            if not self._table.finish(job_id, self._liveness.id, state, result=result, error=error, actor=SYSTEM):
                log.warning("job %s had been given up by another engine", job_id)

        try:
            finish()
        except Exception:
            log.exception("the end of job %s could not be written; trying again", job_id)
            self._unfinished.append(finish)

    # Watch

    def _watch(self) -> None:
        beat_at = time.monotonic()
        while not self._stopping.wait(LOOK_S):
            try:
                self._retry_unfinished()
                if self._running:
                    for job_id in self._table.cancel_requests(self._liveness.id):
                        context = self._running.get(job_id)
                        if context is not None:
                            context.cancel()
                if time.monotonic() - beat_at >= HEARTBEAT_S:
                    beat_at = time.monotonic()
                    if not self._liveness.beat():
                        self._liveness.register()
                    self._settle_others()
            except Exception:
                log.exception("the engine could not reach the database")

    def _settle_others(self) -> None:
        interrupted, adopted = self._liveness.bury_the_dead(self._liveness.id if self._adopt else None)
        if self._adopt:
            adopted += self._table.adopt(self._liveness.id)
        if interrupted:
            log.warning("%d jobs of a process that ended were interrupted", interrupted)
        if adopted or interrupted:
            self._announce()

    def _retry_unfinished(self) -> None:
        for finish in self._unfinished[:]:
            try:
                finish()
            except Exception:
                return
            self._unfinished.remove(finish)
            self._announce()

    # Views

    def _view(self, row: Job, made: tuple[str, ...]) -> JobView:
        position, eta_s = None, None
        if row.state == JobState.QUEUED:
            position, eta_s = self._queue_facts(row)
        elif row.state == JobState.RUNNING:
            context = self._running.get(row.id)
            if context is not None:
                row.done, row.total, row.note, eta_s = context.standing()
            elif row.eta_s is not None and row.progress_at is not None:
                eta_s = max(0.0, row.eta_s - (datetime.now(UTC) - row.progress_at).total_seconds())
            if eta_s is None:
                eta_s = self._left(row.system, row.action, elapsed_s(row) or 0.0)
        return job_view(row, position=position, eta_s=eta_s, has_preview=self._previews.has(row.id), made=made)

    def _queue_facts(self, row: Job) -> tuple[int, float | None]:
        """Place in the queue, and seconds to the job's end if every job before it takes as long as usual."""
        ahead = self._table.ahead(row)
        position = sum(state == JobState.QUEUED for _, _, state, _ in ahead)
        times = [self._left(system, action, elapsed) for system, action, _, elapsed in ahead]
        own = self.expected_seconds(row.system, row.action)
        if own is None or any(seconds is None for seconds in times):
            return position, None
        return position, own + sum(seconds or 0.0 for seconds in times) / self._settings.job_workers

    def _left(self, system: str, action: str, elapsed: float) -> float | None:
        expected = self.expected_seconds(system, action)
        return None if expected is None else max(0.0, expected - elapsed)


_OUT_OF_MEMORY = UserError(
    "The machine ran out of memory.",
    "The job needs more than is free.",
    "Choose a smaller image, fewer frames or fewer samples, or close other programs.",
)


def _out_of_device_memory(bug: BaseException) -> dict[str, str] | None:
    """Running out of a card's memory is a limit of the machine, not a bug; torch need not be loaded to tell."""
    return _OUT_OF_MEMORY.as_dict() if type(bug).__name__ == "OutOfMemoryError" else None


def _reported(claimed: Claimed, bug: BaseException) -> dict[str, str]:
    """Log a bug with its traceback under a short id, and say the id."""
    bug_id = secrets.token_hex(4)
    log.error("bug %s in job %s (%s.%s)", bug_id, claimed.id, claimed.system, claimed.action, exc_info=bug)
    return {
        "what": "Something went wrong inside SynthScope.",
        "why": "This is a bug, not a mistake of yours.",
        "what_to_do": f"Report it with the id {bug_id}, under which the log has the details.",
        "bug": bug_id,
    }

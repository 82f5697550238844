"""What the local engine hands to a running action: progress, preview, cancel, generator, artifacts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from backend.errors import UserError
from backend.identity import Actor
from backend.jobs.contract import ArtifactView, JobCancelled
from backend.jobs.previews import Previews
from backend.jobs.table import Claimed, JobTable
from backend.provenance import Provenance
from backend.store.artifacts import ArtifactStore

if TYPE_CHECKING:
    import torch

    from backend.weights import Weights

#: Least time between two writes of progress or preview, in seconds.
INTERVAL_S = 0.2

log = logging.getLogger(__name__)


class Pace:
    """Remaining time from the rate of progress. Starts at the first report, so that loading a model does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def report(self, now: float, done: float, total: float) -> None:
        """Note progress; a count that falls back begins a new phase."""
        if self._first is None or done < self._last[1]:
            self._first = (now, done)
        self._last = (now, done, total)

    def remaining_s(self, now: float) -> float | None:
        """Seconds that are left, ``None`` before the second step."""
        if self._first is None:
            return None
        (began, first), (last, done, total) = self._first, self._last
        if done <= first or last <= began:
            return None
        return max(0.0, (total - done) * (last - began) / (done - first) - (now - last))


class LocalContext:
    """One running job in this process; implements :class:`backend.jobs.contract.JobContext`."""

    def __init__(
        self,
        claimed: Claimed,
        request: Any,
        *,
        device: str,
        owner: str,
        table: JobTable,
        previews: Previews,
        artifacts: ArtifactStore,
        weights: Weights,
    ) -> None:
        self._claimed = claimed
        self._request = request
        self._device = device
        self._owner = owner
        self._table = table
        self._previews = previews
        self._artifacts = artifacts
        self._weights = weights
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._pace = Pace()
        self._done, self._total, self._note = 0.0, 0.0, ""
        self._preview: bytes | None = None
        self._unwritten = False
        self._written_at = float("-inf")
        self._generator: torch.Generator | None = None

    @property
    def job_id(self) -> str:
        """The job's opaque id."""
        return self._claimed.id

    @property
    def device(self) -> str:
        """Torch device string the job may use."""
        return self._device

    @property
    def actor(self) -> Actor:
        """Who asked for the job."""
        return self._claimed.actor

    @property
    def seed(self) -> int:
        """``request.seed``, 0 without one."""
        return int(getattr(self._request, "seed", None) or 0)

    @property
    def generator(self) -> torch.Generator:
        """CPU generator seeded from the request; made at first use, so that a job without chance loads no torch."""
        if self._generator is None:
            import torch

            self._generator = torch.Generator(device="cpu").manual_seed(self.seed)
        return self._generator

    @property
    def weights(self) -> Weights:
        """Loaded networks, shared by all jobs of the process."""
        return self._weights

    def progress(self, done: float, total: float, note: str = "", preview: bytes | None = None) -> None:
        """Report progress, at any rate: at most five times a second it is written. Checks for cancellation too."""
        now = time.monotonic()
        with self._lock:
            self._pace.report(now, done, total)
            self._done, self._total, self._note = float(done), float(total), note
            self._preview = preview or self._preview
            self._unwritten = True
        if now - self._written_at >= INTERVAL_S:
            self.flush()
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Raise :class:`JobCancelled` if somebody asked for the job to stop."""
        if self._cancelled.is_set():
            raise JobCancelled(self.job_id)

    def open(self, artifact_id: str) -> Path:
        """Read-only path of a stored artifact. Raises ``UserError`` when it does not exist."""
        return self._artifacts.path(artifact_id)

    def view(self, artifact_id: str) -> ArtifactView:
        """Description of a stored artifact. Raises ``UserError`` when it does not exist."""
        return self._artifacts.view(artifact_id)

    def artifact(
        self,
        name: str,
        media_type: str,
        write: Callable[[Path, Provenance], None],
        *,
        kind: str,
        synthetic: bool,
        parents: Sequence[str] = (),
        seed: int | None = None,
        sampler: str = "",
        steps: int | None = None,
        weights: Mapping[str, str] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> ArtifactView:
        """Store something the job made; see the contract. A cancelled job stores nothing more."""
        self.check_cancelled()
        if seed is None and getattr(self._request, "seed", None) is not None:
            seed = self.seed
        provenance = Provenance.now(
            system=self._claimed.system,
            action=self._claimed.action,
            synthetic=synthetic,
            request=self._claimed.request,
            seed=seed,
            sampler=sampler,
            steps=steps,
            weights=dict(weights or {}),
            parents=tuple(parents),
            device=self._device,
        )
        return self._artifacts.add(
            lambda path: write(path, provenance),
            name=name,
            media_type=media_type,
            kind=kind,
            synthetic=synthetic,
            provenance=provenance,
            actor=self.actor,
            job_id=self.job_id,
            properties=properties,
        )

    # What follows is for the engine, not for actions.

    def cancel(self) -> None:
        """Make the next check raise."""
        self._cancelled.set()

    def flush(self) -> None:
        """Write the last reported progress and preview. What cannot be written now is no reason to end the job."""
        with self._lock:
            if not self._unwritten:
                return
            self._unwritten = False
            done, total, note, preview = self._done, self._total, self._note, self._preview
            self._preview = None
            eta_s = self._pace.remaining_s(time.monotonic())
        try:
            if preview is not None:
                self._previews.put(self.job_id, preview)
            self._table.progress(self.job_id, self._owner, done, total, note, eta_s)
        except (OSError, UserError, SQLAlchemyError) as error:
            log.warning("progress of job %s could not be written: %s", self.job_id, type(error).__name__)
        self._written_at = time.monotonic()

    def standing(self) -> tuple[float, float, str, float | None]:
        """Done, total, note and remaining seconds as of now, fresher than the row."""
        with self._lock:
            return self._done, self._total, self._note, self._pace.remaining_s(time.monotonic())

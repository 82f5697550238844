"""What a job is, and what an engine must do with it. Services and pages know this file only, never an engine.

A job is one call of an action, ``run(request, context) -> result``: request and result are dataclasses that pydantic
can turn into JSON and back, so that a job is a row that survives the page, the process and the machine it runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from backend.identity import Actor
from backend.provenance import Provenance

if TYPE_CHECKING:
    import torch

    from backend.weights import Weights


class JobState(StrEnum):
    """Where a job stands. The last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobCancelled(Exception):
    """Raised inside a job at its next check once somebody has asked for it to stop."""


@dataclass(frozen=True)
class ArtifactView:
    """One stored thing as pages and services see it. ``id`` is opaque; no path leaves the store."""

    id: str
    kind: str
    name: str
    media_type: str
    size: int
    sha256: str
    synthetic: bool
    created_at: datetime
    created_by: str
    job_id: str | None
    provenance: Provenance
    properties: Mapping[str, Any] = field(default_factory=dict)


class JobContext(Protocol):
    """What the engine hands to a running action."""

    @property
    def job_id(self) -> str:
        """The job's opaque id."""

    @property
    def device(self) -> str:
        """Torch device string the job may use."""

    @property
    def actor(self) -> Actor:
        """Who asked for the job."""

    @property
    def generator(self) -> torch.Generator:
        """CPU generator seeded from ``request.seed`` (0 without one): same picture on every device."""

    @property
    def weights(self) -> Weights:
        """Loaded networks, shared by all jobs of the process."""

    def progress(self, done: float, total: float, note: str = "", preview: bytes | None = None) -> None:
        """Report progress (``done`` of ``total`` steps), with an optional PNG preview. Checks for cancellation too."""

    def check_cancelled(self) -> None:
        """Raise :class:`JobCancelled` if somebody asked for the job to stop. Call at every step."""

    def open(self, artifact_id: str) -> Path:
        """Read-only path of a stored artifact. Raises ``UserError`` when it does not exist."""

    def view(self, artifact_id: str) -> ArtifactView:
        """Description of a stored artifact. Raises ``UserError`` when it does not exist."""

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
        """Store something the job made. ``write`` gets a temporary path and the provenance to put into the file.

        The file appears under its id only when it is complete, in the same transaction as its row and audit event.
        """


@dataclass(frozen=True)
class Action:
    """One thing a system can do as a job. ``name`` is unique within the system."""

    system: str
    name: str
    run: Callable[[Any, JobContext], Any]
    request: type
    result: type
    summary: str = ""


@dataclass(frozen=True)
class JobView:
    """A job as pages see it. ``position`` is 0 for the next in the queue; times are UTC; seconds may be ``None``.

    ``cancelling`` says that the job was asked to stop and has not come to its next check yet.
    """

    id: str
    system: str
    action: str
    state: JobState
    request: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error: Mapping[str, str] | None
    done: float
    total: float
    note: str
    has_preview: bool
    position: int | None
    eta_s: float | None
    elapsed_s: float | None
    created_at: datetime
    created_by: str
    artifacts: tuple[str, ...] = ()
    cancelling: bool = False

    @property
    def fraction(self) -> float:
        """Share done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class JobEngine(Protocol):
    """Runs jobs. All methods are safe to call from any thread."""

    def start(self) -> None:
        """Mark jobs that a dead process left running as interrupted, then take queued ones."""

    def submit(self, system: str, action: str, request: Any, *, actor: Actor) -> str:
        """Queue one call of an action and return the job's id. Raises ``UserError`` on an unknown action."""

    def view(self, job_id: str) -> JobView:
        """The job as it stands. Raises ``UserError`` when there is no such job."""

    def list(self, *, active: bool = False, system: str = "", limit: int = 50) -> Sequence[JobView]:
        """Newest first."""

    def preview(self, job_id: str) -> bytes | None:
        """The last PNG preview, kept after a cancel."""

    def cancel(self, job_id: str, *, actor: Actor) -> None:
        """Ask a job to stop; a queued one stops at once, a running one at its next check."""

    def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        """Block until the job is final. Raises ``TimeoutError``."""

    def expected_seconds(self, system: str, action: str) -> float | None:
        """Median duration of this installation's finished jobs of that action, ``None`` before the first."""

    def stop(self, *, timeout: float = 10.0) -> None:
        """Cancel what runs and join the workers."""

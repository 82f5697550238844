"""Anomaly: many scans as one job. What it takes and gives; nothing heavy is imported on top."""

from __future__ import annotations

from dataclasses import dataclass

from backend.jobs.contract import Action, JobContext
from backend.services.anomaly.requests import SEVERITIES, WEIGHTS, Score, Sequence

MOST_SCANS = 200


@dataclass(frozen=True)
class ScansRequest:
    """Look at each of ``sources``, artifact ids of scans, with the same settings: see ``DetectRequest``."""

    sources: tuple[str, ...]
    sequence: Sequence = "auto"
    score: Score = "absolute"
    severities: tuple[float, ...] = SEVERITIES
    steps: int = 1
    stride: int = 32
    rate: float = 0.01
    threshold: float = 0.0
    least_ml: float = 0.01
    names: bool = True
    weights: str = WEIGHTS
    seed: int = 0


@dataclass(frozen=True)
class ScanRow:
    """One scan: what was found, or its ``problem`` in a sentence. Fields as in ``DetectResult``."""

    number: int
    source: str
    sequence: str = ""
    brain_ml: float = 0.0
    count: int = 0
    total_ml: float = 0.0
    largest_ml: float = 0.0
    peak: float = 0.0
    region: str = ""
    unlike: str = ""
    seconds: float = 0.0
    heat: str = ""
    restored: str = ""
    labels: str = ""
    table: str = ""
    panel: str = ""
    segmentation: str = ""
    problem: str = ""


@dataclass(frozen=True)
class ScansResult:
    """All rows; ``summary`` is the table as CSV, ``archive`` a ZIP of everything, both '' where no scan could be read.

    ``scans`` counts those that could.
    """

    rows: tuple[ScanRow, ...]
    summary: str
    archive: str
    scans: int
    seconds: float


def batch(request: ScansRequest, ctx: JobContext) -> ScansResult:
    """Look at scan after scan, each stored as soon as it is finished, then pack everything."""
    from backend.services.anomaly.batch_run import run_batch

    return run_batch(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="anomaly",
        name="batch",
        run=batch,
        request=ScansRequest,
        result=ScansResult,
        summary="Heat-maps and findings of many brain scans, with one table.",
    ),
)

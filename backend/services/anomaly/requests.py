"""Anomaly: what the jobs take and give. Nothing heavy is imported on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backend.jobs.contract import Action, JobContext

WEIGHTS = "anomaly/restorer"
Sequence = Literal["auto", "unknown", "t1", "t2", "flair"]
Score = Literal["absolute", "brighter", "combined"]
SEVERITIES = (0.005, 0.051, 0.27, 0.73)
"""Of the published ensemble."""
MOST_SEVERITIES = 8
STRIDES = (8, 128)
MOST_STEPS = 10
HISTOGRAM_BINS = 64
OUTSIDE = "outside labelled regions"


@dataclass(frozen=True)
class DetectRequest:
    """Look for what does not look healthy in one scan.

    ``source``: artifact id of a NIfTI, a DICOM series or slice, or a grey picture; ``mask``: that of a brain mask
    on the same voxels, '' for ours. ``sequence`` "auto" guesses it. ``score``: |x − f|, only what is brighter than
    restored, or the grey values and a restoration together (:mod:`models.anomaly.combine`). ``severities``,
    ``steps`` and ``stride`` (pixels): see :class:`models.anomaly.restore.RestoreConfig`; how many neighbouring
    slices are seen is a matter of the ``weights``. ``rate``: share of healthy voxels that the threshold lets
    through; a ``threshold`` above 0 is taken instead. Findings below ``least_ml`` are left out. ``names``: register
    to the atlas, for MNI coordinates and names of regions.
    """

    source: str
    mask: str = ""
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
class FindingRow:
    """One finding. ``label`` is its value in the label map, 1 for the largest.

    ``ml``: volume; ``peak`` and ``mean`` of the heat-map; ``size``: small, medium or large; ``voxel``: (x, y, z) of the
    hottest in the scan; ``centroid_mm`` in the space of the scanner (RAS+), ``mni_mm`` in that of the atlas, ``None``
    where unknown; ``region``: its name in the atlas, '' without one.
    """

    label: int
    ml: float
    peak: float
    mean: float
    size: str
    voxel: tuple[int, int, int]
    centroid_mm: tuple[float, float, float] | None
    mni_mm: tuple[float, float, float] | None
    region: str


@dataclass(frozen=True)
class DetectResult:
    """What was found. ``heat``, ``restored``, ``labels`` and ``mask`` are NIfTI volumes on the voxels of the source.

    ``table`` is a CSV of all findings, ``panel`` a PNG, ``segmentation`` a DICOM SEG where the source was DICOM, else
    ''. ``findings`` are the largest; ``unlike`` says why this is no brain as the networks know them, '' if it is one.
    ``mask_from``: given, stripped, atlas or threshold. ``threshold_from`` says where the threshold comes from.
    ``window``: grey values of the source from black to white. ``top``: end of the heat-map's colour scale.
    ``histogram``: voxels of the brain by score, bins of equal width from 0 to ``histogram_top``. ``slice`` is the most
    remarkable one along the last axis. ``registered``: mutual information with the atlas, ``None`` where it was not
    registered. ``seconds``: time of the network.
    """

    heat: str
    restored: str
    labels: str
    mask: str
    table: str
    panel: str
    segmentation: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    findings: tuple[FindingRow, ...]
    count: int
    total_ml: float
    brain_ml: float
    mask_from: str
    sequence: str
    guessed: bool
    unlike: str
    threshold: float
    threshold_from: str
    window: tuple[float, float]
    top: float
    histogram: tuple[int, ...]
    histogram_top: float
    slice: int
    registered: float | None
    notes: tuple[str, ...]
    synthetic: bool
    weights_sha256: str
    seconds: float


@dataclass(frozen=True)
class ReviewRequest:
    """Keep only some findings: ``labels`` is the label map of a detection, ``accepted`` and ``rejected`` its values.

    Those in neither were not judged and are kept.
    """

    labels: str
    accepted: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class ReviewResult:
    """Artifact ids of the label map without what was rejected, of the table with the verdicts, and the DICOM SEG."""

    labels: str
    table: str
    segmentation: str
    kept: int


def detect(request: DetectRequest, ctx: JobContext) -> DetectResult:
    """Restore the scan as healthy, and store heat-map, restoration, findings, table and picture."""
    from backend.services.anomaly.run import run_detect

    return run_detect(request, ctx)


def review(request: ReviewRequest, ctx: JobContext) -> ReviewResult:
    """Store the findings of a detection as a reader judged them."""
    from backend.services.anomaly.review_run import run_review

    return run_review(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="anomaly",
        name="detect",
        run=detect,
        request=DetectRequest,
        result=DetectResult,
        summary="Heat-map and findings of what does not look healthy in a brain MRI.",
    ),
    Action(
        system="anomaly",
        name="review",
        run=review,
        request=ReviewRequest,
        result=ReviewResult,
        summary="Keep the findings that a reader accepted.",
    ),
)

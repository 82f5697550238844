"""What the page shows of a finished refinement, at any threshold: numbers, changes, layers. No network is run.

Everything is worked out again from the stored input mask and probability, so a slider can follow the hand. Stored files
never change under their id, which makes their paths good keys for the small caches here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobState
from backend.media.limits import Limits
from backend.services.topology.compare import compare, measure
from backend.services.topology.cut import LISTED_CHANGES, Cut, cleaning, cut, read_pair
from backend.services.topology.input import Contents, Reading, describe
from backend.services.topology.read import read_map
from backend.services.topology.render import BY_KIND, png_bytes
from backend.services.topology.requests import (
    CONNECTIVITY,
    ComparisonRow,
    RefineRequest,
    RefineResult,
    SimpleRepairs,
)
from backend.services.topology.run import open_input, true_mask
from backend.services.topology.table import (
    LIMITS,
    became,
    check_threshold,
    check_tuning,
    comparison_table,
    count,
    counted_kinds,
)

if TYPE_CHECKING:
    from backend.runtime import Runtime

LAYERS = ("before", "after", "kinds")
LARGEST_LAYER = 16_000_000  # pixels sent to the page; a larger mask is shown at a half, a third …


def finished(runtime: Runtime, job_id: str) -> tuple[RefineRequest, RefineResult]:
    """Request and result of a finished refinement. Raises ``UserError`` for any other job."""
    from pydantic import TypeAdapter

    job = runtime.jobs.view(job_id)
    if job.system != "topology" or job.action != "refine" or job.state is not JobState.DONE or job.result is None:
        raise UserError(
            "There is no finished refinement under this id.",
            "The job is another one, or it did not come to its end.",
            "Open the result from its job.",
        )
    return (
        TypeAdapter(RefineRequest).validate_python(dict(job.request)),
        TypeAdapter(RefineResult).validate_python(dict(job.result)),
    )


def look(
    runtime: Runtime, artifact_id: str, *, reading: Reading = "auto", channel: str = ""
) -> tuple[Contents, tuple[str, ...], str]:
    """What a stored file holds, the names of its maps where there are several, and the one looked at.

    Raises ``UserError`` for a file that is no segmentation.
    """
    path = runtime.artifacts.path(artifact_id)
    opened = read_map(path, Limits.from_settings(runtime.settings), channel=channel)
    contents = describe(opened.array, reading=reading)
    return replace(contents, notes=(*opened.notes, *contents.notes)), opened.channels, opened.channel


def view(
    runtime: Runtime, job_id: str, threshold: float | None = None, tune: SimpleRepairs | None = None
) -> dict[str, Any]:
    """Plain JSON values for the page: Betti numbers, changes, comparison, sentences, and where the layers are.

    ``threshold`` in 0..1 defaults to the one of the request, ``tune`` to its simple repairs. Raises ``UserError``.
    """
    request, result = finished(runtime, job_id)
    at = request.threshold if threshold is None else threshold
    check_threshold(at)
    tune = tune or request.compare
    check_tuning(tune, LIMITS)
    found = _cut(runtime, request, result, at)
    counts = Counter(change.kind for change in found.changes)
    rows = _comparison(runtime, request, result, found, tune)
    return {
        "job": job_id,
        "threshold": at,
        "kept_threshold": request.threshold,
        "width": result.width,
        "height": result.height,
        "step": _step(result.height * result.width),
        "before": found.before_betti.as_dict(),
        "after": found.after_betti.as_dict(),
        "truth": None if result.truth is None else result.truth.as_dict(),
        "dice": found.dice,
        "changed": found.changed,
        "summary": summary(found, result),
        "notes": [*result.notes, _speed(result)],
        "kinds": counted_kinds(counts),
        "change_count": len(found.changes),
        "topological": found.topological,
        "changes": [
            {**asdict(change), "topological": BY_KIND[change.kind].topological}
            for change in found.changes[:LISTED_CHANGES]
        ],
        "layers": {name: f"/api/topology/{job_id}/{name}.png?threshold={at:g}" for name in LAYERS},
        "table": comparison_table(rows, tune, request, LIMITS, CONNECTIVITY),
    }


def layer(runtime: Runtime, job_id: str, name: str, threshold: float | None = None) -> bytes:
    """PNG of one layer: ``before`` and ``after`` are 0 and 255, ``kinds`` holds a kind's code where it changed a pixel.

    Masks over ``LARGEST_LAYER`` pixels are shrunk by a whole number, keeping every changed pixel visible.
    """
    request, result = finished(runtime, job_id)
    at = request.threshold if threshold is None else threshold
    check_threshold(at)
    if name not in LAYERS:
        raise UserError("There is no such layer.", f"The layers are {', '.join(LAYERS)}.")
    if name == "before":
        pixels = _pair(*_paths(runtime, result))[0].astype(np.uint8) * 255
    else:
        found = _cut(runtime, request, result, at)
        pixels = found.codes if name == "kinds" else found.mask.astype(np.uint8) * 255
    return png_bytes(_shrunk(pixels))


def summary(found: Cut, result: RefineResult) -> list[str]:
    """What happened, in sentences for a person who has never heard of Betti numbers."""
    before, after = found.before_betti, found.after_betti
    if not found.changed:
        return ["Nothing was changed.", "The network found nothing to repair at this threshold."]
    share = found.changed / (result.width * result.height)
    lines = [
        f"{became(before.b0, after.b0, 'separate piece')}; {became(before.b1, after.b1, 'hole')}.",
        f"{count(found.topological, 'place')} changed the topology, {len(found.changes) - found.topological:,} only "
        f"thickened or thinned it: {share:.2%} of the pixels, Dice with the input {found.dice:.3f}.",
    ]
    if not after.b0:
        lines.append("Nothing is left of it: lower the threshold, or the size below which pieces are removed.")
    if result.truth is not None:
        lines.append(
            f"The true mask of this sample has {count(result.truth.b0, 'piece')} and "
            f"{count(result.truth.b1, 'hole')}; the network never saw it."
        )
    return lines


def seconds_per_megapixel(runtime: Runtime) -> float | None:
    """Median over this installation's last refinements from start to end, s per 10⁶ pixels; ``None`` before one."""
    paces = [
        job.elapsed_s / job.result["megapixels"]
        for job in runtime.jobs.list(system="topology", limit=50)
        if job.action == "refine" and job.state is JobState.DONE and job.result and job.elapsed_s
    ]
    return float(np.median(paces)) if paces else None


def _comparison(
    runtime: Runtime, request: RefineRequest, result: RefineResult, found: Cut, tune: SimpleRepairs
) -> tuple[ComparisonRow, ...]:
    """The stored rows, except those that a new threshold or new parameters change."""
    before = _pair(*_paths(runtime, result))[0]
    truth = _truth(runtime, request, before.shape) if result.truth is not None else None
    rows = result.comparison
    if tune != request.compare:
        given = _given(runtime.artifacts.path(request.source), request)
        rows = compare(given, before, found.mask, tune, soft=result.kind == "probability", truth=truth)
    return (*rows[:-1], measure("refined", rows[-1].title, "", before, found.mask, truth))


def _cut(runtime: Runtime, request: RefineRequest, result: RefineResult, threshold: float) -> Cut:
    return _cached_cut(*_paths(runtime, result), threshold, cleaning(request))


def _paths(runtime: Runtime, result: RefineResult) -> tuple[Path, Path]:
    return runtime.artifacts.path(result.before), runtime.artifacts.path(result.probability)


@lru_cache(maxsize=2)
def _pair(before: Path, probability: Path) -> tuple[np.ndarray, np.ndarray]:
    return read_pair(before, probability)


@lru_cache(maxsize=4)
def _cached_cut(before: Path, probability: Path, threshold: float, clean: tuple[int, int, float]) -> Cut:
    return cut(*_pair(before, probability), threshold, clean)


@lru_cache(maxsize=1)
def _given(source: Path, request: RefineRequest) -> np.ndarray:
    return open_input(source, request)[0].probability


def _truth(runtime: Runtime, request: RefineRequest, shape: tuple[int, ...]) -> np.ndarray | None:
    return true_mask(request, runtime.artifacts.view(request.source), runtime.artifacts.path, shape)


def _step(pixels: int) -> int:
    """By which whole number a layer of so many pixels is shrunk for the page."""
    return max(1, int(np.ceil(np.sqrt(pixels / LARGEST_LAYER))))


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    """The layer, or the maximum of each k × k block of it, so small that it has at most ``LARGEST_LAYER`` pixels."""
    step = _step(pixels.size)
    if step == 1:
        return pixels
    height, width = (-(-side // step) * step for side in pixels.shape)
    padded = np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1])))
    return padded.reshape(height // step, step, width // step, step).max(axis=(1, 3))


def _speed(result: RefineResult) -> str:
    return f"The network took {result.seconds:.1f} s for {result.megapixels:.2f} megapixels on this machine."

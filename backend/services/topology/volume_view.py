"""What the page shows of a finished refinement of a volume, at any threshold: numbers, changes, layers to look at.

No network is run: everything is worked out again from the stored input mask and probability. Layers are NIfTI volumes
for the three-dimensional viewer, and single slices as pictures where a browser cannot draw volumes.
"""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobState
from backend.media.limits import Limits
from backend.services.topology.compare import measure
from backend.services.topology.cut import LISTED_CHANGES
from backend.services.topology.input import Contents, Reading, describe
from backend.services.topology.render import BY_KIND, change_picture, png_bytes, volume_title
from backend.services.topology.requests import ComparisonRow, SimpleRepairs
from backend.services.topology.table import (
    VOLUME_LIMITS,
    became,
    check_threshold,
    check_tuning,
    comparison_table,
    count,
    counted_kinds,
)
from backend.services.topology.volume import VOLUME_CONNECTIVITY, VolumeRequest, VolumeResult
from backend.services.topology.volume_cut import VolumeCut, cut_volume, read_volume_pair
from backend.services.topology.volume_grid import box_around, divisions
from backend.services.topology.volume_read import OpenedVolume, read_volume
from backend.services.topology.volume_run import GivenVolume, cleaning, compare_in_box, open_volume, true_volume

if TYPE_CHECKING:
    from backend.runtime import Runtime

LAYERS = ("before", "after", "kinds")
AXES = ("x", "y", "z")


def finished_volume(runtime: Runtime, job_id: str) -> tuple[VolumeRequest, VolumeResult]:
    """Request and result of a finished refinement of a volume. Raises ``UserError`` for any other job."""
    from pydantic import TypeAdapter

    job = runtime.jobs.view(job_id)
    if (job.system, job.action) != ("topology", "refine_volume") or job.state is not JobState.DONE or not job.result:
        raise UserError(
            "There is no finished refinement of a volume under this id.",
            "The job is another one, or it did not come to its end.",
            "Open the result from its job.",
        )
    return (
        TypeAdapter(VolumeRequest).validate_python(dict(job.request)),
        TypeAdapter(VolumeResult).validate_python(dict(job.result)),
    )


def look_volume(
    runtime: Runtime, artifact_id: str, *, reading: Reading = "auto", channel: str = ""
) -> tuple[Contents, OpenedVolume] | None:
    """What a stored volume holds and how it lies; ``None`` when the file is a picture.

    Raises ``UserError`` for a volume that is no segmentation.
    """
    opened = read_volume(runtime.artifacts.path(artifact_id), Limits.from_settings(runtime.settings), channel=channel)
    if opened is None:
        return None
    contents = describe(opened.array, reading=reading, volume=True)
    return replace(contents, notes=(*opened.notes, *contents.notes)), opened


def view_volume(
    runtime: Runtime, job_id: str, threshold: float | None = None, tune: SimpleRepairs | None = None
) -> dict[str, Any]:
    """Plain JSON values for the page: Betti numbers, changes, comparison, sentences, and where the layers are.

    ``threshold`` in 0..1 defaults to the one of the request, ``tune`` to its simple repairs. Raises ``UserError``.
    """
    request, result = finished_volume(runtime, job_id)
    at = request.threshold if threshold is None else threshold
    check_threshold(at)
    tune = tune or request.compare
    check_tuning(tune, VOLUME_LIMITS)
    found = _cut(runtime, request, result, at)
    counts = Counter(change.kind for change in found.changes)
    rows = _comparison(runtime, request, result, found, tune)
    return {
        "job": job_id,
        "volume": True,
        "threshold": at,
        "kept_threshold": request.threshold,
        "shape": result.shape,
        "spacing_mm": result.spacing_mm,
        "before": found.before_betti.as_dict(),
        "after": found.after_betti.as_dict(),
        "truth": None if result.truth is None else result.truth.as_dict(),
        "dice": found.dice,
        "changed": found.changed,
        "summary": summary(found, result),
        "notes": [*result.notes, _speed(result)],
        "kinds": counted_kinds(counts, volume=True),
        "change_count": len(found.changes),
        "topological": found.topological,
        "changes": [
            {**asdict(change), "title": volume_title(change), "topological": BY_KIND[change.kind].topological}
            for change in found.changes[:LISTED_CHANGES]
        ],
        "layers": {name: f"/api/topology/{job_id}/{name}.nii.gz?threshold={at:g}" for name in LAYERS},
        "slices": f"/api/topology/{job_id}/slice.png?threshold={at:g}",
        "table": comparison_table(rows, tune, request, VOLUME_LIMITS, VOLUME_CONNECTIVITY),
    }


def volume_layer(runtime: Runtime, job_id: str, name: str, threshold: float | None = None) -> bytes:
    """Gzipped NIfTI of one layer, uint8 on the grid of the source, for the page only.

    ``before`` and ``after`` are 0 and 1, ``kinds`` holds a kind's code in each voxel that was changed.
    """
    import nibabel

    request, result = finished_volume(runtime, job_id)
    at = request.threshold if threshold is None else threshold
    check_threshold(at)
    if name not in LAYERS:
        raise UserError("There is no such layer.", f"The layers are {', '.join(LAYERS)}.")
    before, _, affine = _pair(*_paths(runtime, result))
    if name == "before":
        voxels = before.astype(np.uint8)
    else:
        found = _cut(runtime, request, result, at)
        voxels = found.codes if name == "kinds" else found.mask.astype(np.uint8)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def volume_slice(
    runtime: Runtime, job_id: str, side: str, axis: str, index: int, threshold: float | None = None, *, changes: bool
) -> bytes:
    """PNG of one slice of the mask ``before`` or ``after``, changed voxels in the colours of their kinds.

    ``axis`` ('x', 'y' or 'z') is the one the slice is perpendicular to, ``index`` its place there (brought into the
    volume); rows run downwards.
    """
    request, result = finished_volume(runtime, job_id)
    at = request.threshold if threshold is None else threshold
    check_threshold(at)
    if side not in ("before", "after") or axis not in AXES:
        raise UserError("There is no such slice.", "A slice is before or after, along x, y or z.")
    along = AXES.index(axis)
    index = min(max(index, 0), result.shape[along] - 1)
    found = _cut(runtime, request, result, at)
    volume = _pair(*_paths(runtime, result))[0] if side == "before" else found.mask
    mask, codes = np.take(volume, index, along), np.take(found.codes, index, along)
    picture = change_picture(mask, codes if changes else np.zeros_like(codes), legend=False)
    return png_bytes(np.ascontiguousarray(picture.transpose(1, 0, 2)[::-1]))


def summary(found: VolumeCut, result: VolumeResult) -> list[str]:
    """What happened, in sentences for a person who has never heard of Betti numbers."""
    before, after = found.before_betti, found.after_betti
    if not found.changed:
        return ["Nothing was changed.", "The network found nothing to repair at this threshold."]
    lines = [
        f"{became(before.b0, after.b0, 'separate piece')}; {became(before.b1, after.b1, 'loop')}; "
        f"{became(before.b2 or 0, after.b2 or 0, 'closed cavity')}.",
        f"{count(found.topological, 'place')} changed the topology, {len(found.changes) - found.topological:,} only "
        f"thickened or thinned it: {count(found.changed, 'voxel')}{_millilitres(found.changed, result)} differ, "
        f"Dice with the input {found.dice:.3f}.",
    ]
    if not after.b0:
        lines.append("Nothing is left of it: lower the threshold, or the size below which pieces are removed.")
    if result.truth is not None:
        lines.append(
            f"The true mask has {count(result.truth.b0, 'piece')}, {count(result.truth.b1, 'loop')} and "
            f"{count(result.truth.b2 or 0, 'cavity')}; the network never saw it."
        )
    return lines


def seconds_per_megavoxel(runtime: Runtime) -> float | None:
    """Median over this installation's last refinements of volumes, s per 10⁶ voxels; ``None`` before one."""
    paces = [
        job.elapsed_s / job.result["megavoxels"]
        for job in runtime.jobs.list(system="topology", limit=50)
        if job.action == "refine_volume" and job.state is JobState.DONE and job.result and job.elapsed_s
    ]
    return float(np.median(paces)) if paces else None


def box_megavoxels(opened: OpenedVolume) -> float:
    """How much the network will look at, in 10⁶ voxels: the box around all that is not background, divided as it is."""
    array = opened.array
    if array.min() == array.max():
        return array.size / 1e6
    box = box_around(array > array.min() + 0.02 * (float(array.max()) - float(array.min())))
    shape = [side.stop - side.start for side in box]
    return float(np.prod(shape) * np.prod(divisions(opened.spacing_mm, tuple(shape)))) / 1e6


def _comparison(
    runtime: Runtime, request: VolumeRequest, result: VolumeResult, found: VolumeCut, tune: SimpleRepairs
) -> tuple[ComparisonRow, ...]:
    """The stored rows, except those that a new threshold or new parameters change."""
    before, _, _ = _pair(*_paths(runtime, result))
    given = None
    truth = None
    if result.truth is not None or tune != request.compare:
        given = _given(runtime.artifacts.path(request.source), request)
    if result.truth is not None and given is not None:
        source = runtime.artifacts.view(request.source)
        truth = true_volume(request, source, runtime.artifacts.path, given)
    if tune != request.compare and given is not None:
        soft = result.kind == "probability"
        return compare_in_box(given, before, found.mask, replace(request, compare=tune), truth, soft=soft)
    seen = before | found.mask
    box = box_around(seen if truth is None else seen | truth, margin=1)
    ours = measure(
        "refined", result.comparison[-1].title, "", before[box], found.mask[box], None if truth is None else truth[box]
    )
    return (*result.comparison[:-1], ours)


def _cut(runtime: Runtime, request: VolumeRequest, result: VolumeResult, threshold: float) -> VolumeCut:
    return _cached_cut(*_paths(runtime, result), threshold, cleaning(request), result.spacing_mm is not None)


def _paths(runtime: Runtime, result: VolumeResult) -> tuple[Path, Path]:
    return runtime.artifacts.path(result.before), runtime.artifacts.path(result.probability)


@lru_cache(maxsize=1)
def _pair(before: Path, probability: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return read_volume_pair(before, probability)


@lru_cache(maxsize=2)
def _cached_cut(
    before: Path, probability: Path, threshold: float, clean: tuple[int, int, float], known: bool
) -> VolumeCut:
    mask, levels, affine = _pair(before, probability)
    return cut_volume(mask, levels, threshold, clean, affine if known else None)


@lru_cache(maxsize=1)
def _given(source: Path, request: VolumeRequest) -> GivenVolume:
    return open_volume(source, request)


def _millilitres(voxels: int, result: VolumeResult) -> str:
    if result.spacing_mm is None:
        return ""
    return f" ({voxels * float(np.prod(result.spacing_mm)) / 1000:.3g} ml)"


def _speed(result: VolumeResult) -> str:
    return f"The network took {result.seconds:.1f} s for {result.megavoxels:.2f} million voxels on this machine."

"""The jobs on volumes: read the input, run the network on the box around the structure, compare, store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from backend.errors import UserError
from backend.jobs.contract import ArtifactView, JobContext
from backend.media.limits import Limits
from backend.services.topology.compare import betti, compare
from backend.services.topology.cut import LISTED_CHANGES, MaskKeeper
from backend.services.topology.input import InputMap, interpret, require_two_sides
from backend.services.topology.own import keep_own
from backend.services.topology.render import projection_png
from backend.services.topology.run import build_refiner, check_thresholds
from backend.services.topology.volume import (
    VOLUME_WEIGHTS,
    VolumeRequest,
    VolumeResult,
    VolumeThresholdRequest,
    VolumeThresholdResult,
)
from backend.services.topology.volume_cut import VolumeKeeper, cut_volume, quantise_levels, read_volume_pair
from backend.services.topology.volume_grid import (
    FAINT,
    Box,
    box_around,
    divisions,
    refined_in_box,
    require_size,
    spacing_note,
)
from backend.services.topology.volume_read import OpenedVolume, as_stacked, read_volume
from backend.settings import get_settings

PREVIEW_EVERY_S = 0.5
THIN = 16  # slices; below this the network sees mostly its own mirror image along that axis


@dataclass(frozen=True)
class GivenVolume:
    """A volume as the network takes it: what was read, its file's geometry, and the grid it is refined on."""

    input: InputMap
    opened: OpenedVolume
    box: Box
    parts: tuple[int, int, int]
    notes: tuple[str, ...]

    @property
    def affine(self) -> np.ndarray | None:
        """Voxels to mm; ``None`` where the file does not tell."""
        return self.opened.affine if self.opened.known else None


def run_volume(request: VolumeRequest, ctx: JobContext) -> VolumeResult:
    """See :func:`backend.services.topology.volume.refine_volume`."""
    ctx.progress(0, 1, "Reading the volume")
    check_thresholds(request)
    source = ctx.view(request.source)
    given = open_volume(ctx.open(request.source), request)
    probability = given.input.probability
    before = probability >= request.input_threshold
    truth = true_volume(request, source, ctx.open, given)

    refined, sha256, seconds, voxels = _refined(request, given, ctx)
    levels = quantise_levels(refined)
    del refined

    ctx.progress(1, 1, "Finding what changed")
    result = cut_volume(before, levels, request.threshold, cleaning(request), given.affine)
    ctx.check_cancelled()
    ctx.progress(1, 1, "Comparing with simple repairs")
    soft = given.input.kind == "probability"
    rows = compare_in_box(given, before, result.mask, request, truth, soft=soft)
    ctx.check_cancelled()

    ctx.progress(1, 1, "Storing the volumes")
    parents = (request.source, request.truth) if request.truth else (request.source,)
    inner = MaskKeeper(ctx, source.synthetic, parents, {request.weights: sha256}, request.seed)
    keeper = VolumeKeeper(inner, given.opened.affine, given.opened.known)
    before_id = keeper.mask("input-mask.nii.gz", before)
    probability_id = keeper.probability("refined-probability.nii.gz", levels)
    mask_id, map_id, table_id = keeper.cut(result)
    own, more = _own(inner, ctx.open(request.source), request, given, result.mask)
    ctx.progress(1, 1)
    x, y, z = before.shape
    return VolumeResult(
        before=before_id,
        mask=mask_id,
        probability=probability_id,
        change_map=map_id,
        change_table=table_id,
        shape=(x, y, z),
        spacing_mm=given.opened.spacing_mm,
        kind=given.input.kind,
        notes=(*given.notes, *more),
        threshold=request.threshold,
        before_betti=result.before_betti,
        after_betti=result.after_betti,
        dice=result.dice,
        changed=result.changed,
        change_count=len(result.changes),
        topological=result.topological,
        changes=result.changes[:LISTED_CHANGES],
        comparison=rows,
        truth=None if truth is None else betti(truth),
        weights_sha256=sha256,
        seconds=round(seconds, 3),
        megavoxels=voxels / 1e6,
        own=own,
    )


def run_volume_threshold(request: VolumeThresholdRequest, ctx: JobContext) -> VolumeThresholdResult:
    """See :func:`backend.services.topology.volume.rethreshold_volume`."""
    ctx.progress(0, 1, "Cutting at the threshold")
    check_thresholds(request)
    made = ctx.view(request.probability)
    before, levels, affine = read_volume_pair(ctx.open(request.before), ctx.open(request.probability))
    known = bool(made.properties.get("spacing_known", True))
    result = cut_volume(before, levels, request.threshold, cleaning(request), affine if known else None)
    parents = (request.probability, request.before)
    inner = MaskKeeper(ctx, made.synthetic, parents, dict(made.provenance.weights), request.seed)
    keeper = VolumeKeeper(inner, affine, known)
    suffix = f"-{request.threshold:.2f}"
    mask_id, map_id, table_id = keeper.cut(result, suffix)
    asked = TypeAdapter(VolumeRequest).validate_python(dict(made.provenance.request))
    source = ctx.open(asked.source)
    own, _ = _own(inner, source, asked, open_volume(source, asked), result.mask, suffix)
    ctx.progress(1, 1)
    return VolumeThresholdResult(
        mask=mask_id,
        change_map=map_id,
        change_table=table_id,
        threshold=request.threshold,
        before_betti=result.before_betti,
        after_betti=result.after_betti,
        dice=result.dice,
        changed=result.changed,
        change_count=len(result.changes),
        topological=result.topological,
        changes=result.changes[:LISTED_CHANGES],
        own=own,
    )


def _own(
    keeper: MaskKeeper, source: Path, request: VolumeRequest, given: GivenVolume, mask: np.ndarray, suffix: str = ""
) -> tuple[str, tuple[str, ...]]:
    opened = given.opened
    if opened.source == "nifti" and opened.channels:
        return "", ()  # one volume of several: its NIfTI is the plain one
    return keep_own(
        keeper,
        source,
        as_stacked(opened.array),
        as_stacked(mask),
        kind=given.input.kind,
        label=request.label,
        invert=request.invert,
        channel=opened.channel,
        suffix=suffix,
    )


def cleaning(request: VolumeRequest | VolumeThresholdRequest) -> tuple[int, int, float]:
    """What :func:`cut_volume` takes as ``clean``."""
    return request.remove_below, request.fill_below, request.fill_share


def open_volume(path: Path, request: VolumeRequest) -> GivenVolume:
    """Read a stored volume as the request says, and decide on the grid; the notes tell how. Raises ``UserError``."""
    opened = read_volume(path, Limits.from_settings(get_settings()), channel=request.channel)
    if opened is None:
        raise UserError(
            "This is a picture, not a volume.",
            "It has two dimensions.",
            "Repair it with the weights for two dimensions.",
        )
    read = interpret(opened.array, reading=request.reading, label=request.label, invert=request.invert, volume=True)
    require_two_sides(read.probability, request.input_threshold)
    box = box_around(read.probability >= min(FAINT, request.input_threshold))
    shape = tuple(side.stop - side.start for side in box)
    require_size(shape)
    parts = divisions(opened.spacing_mm, shape) if request.cubic else (1, 1, 1)
    notes = [*opened.notes, *read.notes, spacing_note(opened.spacing_mm, parts, request.cubic)]
    slices = min(opened.array.shape)
    if slices < THIN:
        notes.append(
            f"With {slices} slices the volume is thinner than what the network looks at; beyond its ends it is taken "
            "as mirrored, so trust repairs across slices less."
        )
    return GivenVolume(read, opened, box, parts, tuple(note for note in notes if note))


def true_volume(
    request: VolumeRequest, source: ArtifactView, path_of: Callable[[str], Path], given: GivenVolume
) -> np.ndarray | None:
    """The true mask that was uploaded, or the sample's own, bool [X, Y, Z]; ``None`` without. Raises ``UserError``."""
    shape = given.input.probability.shape
    if not request.truth:
        from backend.services.topology.truth import sample_truth

        return sample_truth(str(source.properties.get("sample", "")), shape, get_settings())
    opened = read_volume(path_of(request.truth), Limits.from_settings(get_settings()))
    if opened is None or opened.array.shape != shape:
        measures = "a picture" if opened is None else " × ".join(map(str, opened.array.shape)) + " voxels"
        raise UserError(
            "The true mask and the segmentation differ in size.",
            f"The true mask is {measures}, the segmentation {' × '.join(map(str, shape))} voxels.",
            "Upload the true mask of the same scan, or none.",
        )
    return interpret(opened.array, label=request.label, volume=True).probability >= 0.5


def compare_in_box(
    given: GivenVolume,
    before: np.ndarray,
    after: np.ndarray,
    request: VolumeRequest,
    truth: np.ndarray | None,
    *,
    soft: bool,
) -> tuple[Any, ...]:
    """Rows of :func:`compare.compare`, measured in the box that holds all masks; numbers are those of the whole."""
    seen = (given.input.probability >= FAINT) | before | after
    box = box_around(seen if truth is None else seen | truth, margin=1)
    inner = None if truth is None else truth[box]
    return compare(given.input.probability[box], before[box], after[box], request.compare, soft=soft, truth=inner)


def _refined(request: VolumeRequest, given: GivenVolume, ctx: JobContext) -> tuple[np.ndarray, str, float, int]:
    """The network's output, float32 [X, Y, Z] in 0..1, the hash of its weights, its seconds and the voxels it saw."""
    from models.topology.inference import refine

    ctx.progress(0, 1, "Loading the network")
    model: Any = ctx.weights.load(request.weights, build_refiner, ctx.device)
    if model.dimensions != 3:
        raise UserError(
            f"The weights {request.weights!r} are for pictures.",
            "This is a three-dimensional mask.",
            f"Choose {VOLUME_WEIGHTS!r}.",
        )
    latest: list[bytes] = []
    due, voxels = 0.0, 0

    def keep_preview(partial: Callable[[], np.ndarray]) -> None:
        # A preview of a large volume costs time itself: it may take a tenth of the whole at most.
        nonlocal due
        began = time.monotonic()
        if began >= due:
            latest[:] = [projection_png(partial())]
            due = time.monotonic() + max(PREVIEW_EVERY_S, 10 * (time.monotonic() - began))

    def report(done: int, total: int) -> None:
        ctx.progress(done, total, "Refining window by window", latest.pop() if latest else None)

    def run(probability: np.ndarray) -> np.ndarray:
        nonlocal voxels
        voxels = probability.size
        return refine(model, probability, callback=report, preview=keep_preview)

    started = time.perf_counter()
    with ctx.weights.autocast(ctx.device):
        refined = refined_in_box(given.input.probability, given.box, given.parts, run)
    return refined, ctx.weights.find(request.weights).sha256, time.perf_counter() - started, voxels

"""The jobs of the topology system: read the input, run the network, compare, store."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from backend.errors import UserError
from backend.jobs.contract import ArtifactView, JobContext
from backend.media.limits import Limits
from backend.services.topology.compare import betti, compare
from backend.services.topology.cut import LISTED_CHANGES, MaskKeeper, cleaning, cut, quantise, read_pair
from backend.services.topology.input import InputMap, interpret, require_two_sides
from backend.services.topology.own import keep_own
from backend.services.topology.read import read_map
from backend.services.topology.render import preview_png
from backend.services.topology.requests import (
    DEFAULT_WEIGHTS,
    Cleaned,
    RefineRequest,
    RefineResult,
    ThresholdRequest,
    ThresholdResult,
)
from backend.settings import get_settings

if TYPE_CHECKING:
    from models.topology.refiner import Refiner

LARGEST = 64_000_000  # pixels of one mask; more would not fit beside its probability in the page
PREVIEW_EVERY_S = 0.5


def run_refine(request: RefineRequest, ctx: JobContext) -> RefineResult:
    """See :func:`backend.services.topology.requests.refine`."""
    ctx.progress(0, 1, "Reading the mask")
    check_thresholds(request)
    source = ctx.view(request.source)
    given, notes = open_input(ctx.open(request.source), request)
    require_two_sides(given.probability, request.input_threshold)
    before = given.probability >= request.input_threshold
    truth = true_mask(request, source, ctx.open, before.shape)

    refined, sha256, seconds = _refined(request, given.probability, ctx)
    probability = quantise(refined)

    ctx.progress(1, 1, "Comparing with simple repairs")
    result = cut(before, probability, request.threshold, cleaning(request))
    ctx.check_cancelled()
    rows = compare(
        given.probability, before, result.mask, request.compare, soft=given.kind == "probability", truth=truth
    )
    ctx.check_cancelled()

    parents = (request.source, request.truth) if request.truth else (request.source,)
    keeper = MaskKeeper(ctx, source.synthetic, parents, {request.weights: sha256}, request.seed)
    before_id = keeper.png("input-mask.png", before, "mask")
    probability_id = keeper.png("refined-probability.png", probability, "map")
    mask_id, map_id, table_id = keeper.cut(result)
    own, more = _own(keeper, ctx.open(request.source), request, given, result.mask)
    ctx.progress(1, 1)
    height, width = before.shape
    return RefineResult(
        before=before_id,
        mask=mask_id,
        probability=probability_id,
        change_map=map_id,
        change_table=table_id,
        height=height,
        width=width,
        kind=given.kind,
        notes=(*notes, *more),
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
        megapixels=before.size / 1e6,
        own=own,
    )


def run_threshold(request: ThresholdRequest, ctx: JobContext) -> ThresholdResult:
    """See :func:`backend.services.topology.requests.rethreshold`."""
    ctx.progress(0, 1, "Cutting at the threshold")
    check_thresholds(request)
    made = ctx.view(request.probability)
    before, probability = read_pair(ctx.open(request.before), ctx.open(request.probability))
    result = cut(before, probability, request.threshold, cleaning(request))
    parents = (request.probability, request.before)
    keeper = MaskKeeper(ctx, made.synthetic, parents, dict(made.provenance.weights), request.seed)
    suffix = f"-{request.threshold:.2f}"
    mask_id, map_id, table_id = keeper.cut(result, suffix)
    asked = TypeAdapter(RefineRequest).validate_python(dict(made.provenance.request))
    source = ctx.open(asked.source)
    own, _ = _own(keeper, source, asked, open_input(source, asked)[0], result.mask, suffix)
    ctx.progress(1, 1)
    return ThresholdResult(
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
    keeper: MaskKeeper, source: Path, request: RefineRequest, given: InputMap, mask: np.ndarray, suffix: str = ""
) -> tuple[str, tuple[str, ...]]:
    opened = read_map(source, Limits.from_settings(get_settings()), channel=request.channel)
    return keep_own(
        keeper,
        source,
        opened.array,
        mask,
        kind=given.kind,
        label=request.label,
        invert=request.invert,
        channel=opened.channel,
        suffix=suffix,
    )


def check_thresholds(request: Cleaned) -> None:
    """Raise ``UserError`` for a threshold outside 0..1 or a cleaning of negative size."""
    for value in (request.threshold, getattr(request, "input_threshold", 0.5)):
        if not 0 < value < 1:
            raise UserError(
                f"A threshold of {value:g} cannot be used.",
                "It is compared with probabilities, which lie between 0 and 1.",
                "Choose one in between, such as 0.5.",
            )
    if min(request.remove_below, request.fill_below, request.fill_share) < 0:
        raise UserError("A size below zero cannot be used.", "", "Set it to 0 to switch the cleaning off.")


def open_input(path: Path, request: RefineRequest) -> tuple[InputMap, tuple[str, ...]]:
    """Read a stored segmentation as the request says; the notes tell how. Raises ``UserError``."""
    opened = read_map(path, Limits.from_settings(get_settings()), channel=request.channel)
    height, width = opened.array.shape[:2]
    if height * width > LARGEST:
        raise UserError(
            f"The mask is too large to repair in one piece: {width:,} × {height:,} pixels.",
            f"The page shows up to {LARGEST / 1e6:.0f} megapixels.",
            "Crop it into tiles and repair them one by one.",
        )
    read = interpret(
        opened.array,
        reading=request.reading,
        label=request.label,
        invert=request.invert,
        mend_frame=request.mend_frame,
    )
    return read, (*opened.notes, *read.notes)


def true_mask(
    request: RefineRequest, source: ArtifactView, path_of: Callable[[str], Path], shape: tuple[int, ...]
) -> np.ndarray | None:
    """The true mask that was uploaded, or the sample's own, bool [H, W]; ``None`` without one. Raises ``UserError``."""
    if not request.truth:
        from backend.services.topology.truth import sample_truth

        return sample_truth(str(source.properties.get("sample", "")), shape, get_settings())
    opened = read_map(path_of(request.truth), Limits.from_settings(get_settings()))
    truth = interpret(opened.array, label=request.label, mend_frame=False).probability >= 0.5
    if truth.shape != shape:
        raise UserError(
            "The true mask and the segmentation differ in size.",
            f"One measures {truth.shape[1]} × {truth.shape[0]} pixels, the other {shape[1]} × {shape[0]}.",
            "Upload the true mask of the same image, or none.",
        )
    return truth


def _refined(request: RefineRequest, probability: np.ndarray, ctx: JobContext) -> tuple[np.ndarray, str, float]:
    """The network's output, float32 [H, W] in 0..1, the hash of its weights and its seconds; reports every window."""
    from models.topology.inference import refine

    ctx.progress(0, 1, "Loading the network")
    model: Any = ctx.weights.load(request.weights, build_refiner, ctx.device)
    if model.dimensions != 2:
        raise UserError(
            f"The weights {request.weights!r} are for volumes.",
            "This is a two-dimensional mask.",
            f"Choose {DEFAULT_WEIGHTS!r}.",
        )

    latest: list[bytes] = []
    due = 0.0

    def keep_preview(partial: Callable[[], np.ndarray]) -> None:
        # A preview of a large mask costs time itself: it may take a tenth of the whole at most.
        nonlocal due
        began = time.monotonic()
        if began >= due:
            latest[:] = [preview_png(partial())]
            due = time.monotonic() + max(PREVIEW_EVERY_S, 10 * (time.monotonic() - began))

    def report(done: int, total: int) -> None:
        ctx.progress(done, total, "Refining window by window", latest.pop() if latest else None)

    started = time.perf_counter()
    with ctx.weights.autocast(ctx.device):
        refined = refine(model, probability, callback=report, preview=keep_preview)
    return refined, ctx.weights.find(request.weights).sha256, time.perf_counter() - started


def build_refiner(config: dict[str, Any]) -> Refiner:
    """The network of a weight's ``config.json``, still with random parameters."""
    from models.topology.refiner import Refiner

    return Refiner(**config["arguments"])

"""The job that measures a clip: read it, segment every frame, find the beats, store all of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import ArtifactView, JobContext
from backend.media.limits import Limits
from backend.media.stored_clip import StoredClip
from backend.services.echo.keep import EchoKeeper
from backend.services.echo.overlay import enlarged, overlaid, png_bytes
from backend.services.echo.requests import (
    MAX_FRAMES,
    Measured,
    MeasureRequest,
    MeasureResult,
)
from backend.services.echo.truth import sample_truth
from backend.settings import get_settings

if TYPE_CHECKING:
    from backend.media.echo_clip import EchoSource
    from models.echo.meter import Measurement, Meter

LEAST_FRAMES = 8  # fewer hold no beat
RATES = (1.0, 500.0)  # frames a second that a person may state
PREVIEW_SIZE = 3  # times


def run_measure(request: MeasureRequest, ctx: JobContext) -> MeasureResult:
    """See :func:`backend.services.echo.requests.measure`."""
    ctx.progress(0, 1, "Reading the clip")
    given = ctx.view(request.source)
    source = open_source(ctx, given, request)
    ctx.check_cancelled()
    model, sha256 = load_meter(request.weights, ctx)
    started = time.perf_counter()
    labels, measured = measure_clip(model, source.frames, source.fps, source.mm_per_px, ctx)
    seconds = time.perf_counter() - started

    ctx.progress(1, 1, "Storing what was found")
    keeper = EchoKeeper(ctx, given.synthetic, (request.source,), {request.weights: sha256})
    clip = stored(source.frames, labels, measured)
    result = MeasureResult(
        clip=keeper.clip("measured-clip.npz", clip, {"label": given.properties.get("label", "")}),
        table=keeper.curve("volume-curve.csv", measured),
        video=keeper.film("measured-clip.mp4", source.frames, source.fps, labels),
        frames=len(source.frames),
        measured=measured,
        truth=sample_truth(str(given.properties.get("sample", ""))),
        synthetic=given.synthetic,
        notes=tuple(source.notes),
        weights_sha256=sha256,
        seconds=round(seconds, 3),
    )
    ctx.progress(1, 1)
    return result


def open_source(ctx: JobContext, given: ArtifactView, request: MeasureRequest, least: int = LEAST_FRAMES) -> EchoSource:
    """The clip as 112×112 grey frames with the rate and scale that the request states.

    Raises ``UserError`` for what is no echo clip or has fewer than ``least`` frames.
    """
    from dataclasses import replace

    from backend.media.echo_clip import read_echo_clip

    for value, name, (low, high) in ((request.fps, "rate", RATES), (request.mm_per_px, "size of a pixel", (0.01, 10))):
        if value and not low <= value <= high:
            raise UserError(
                f"A {name} of {value:g} cannot be used.",
                f"It has to lie between {low:g} and {high:g}.",
                "Leave it at 0 to take what the file says.",
            )
    limits = Limits.from_settings(get_settings())
    source = read_echo_clip(ctx.open(given.id), limits, native_fps=request.fps or None, min_frames=least)
    if request.mm_per_px:
        source = replace(source, mm_per_px=request.mm_per_px)
    if len(source.frames) > MAX_FRAMES:
        note = f"Only the first {MAX_FRAMES} of its {len(source.frames)} frames were measured."
        source = replace(source, frames=source.frames[:MAX_FRAMES], notes=(*source.notes, note))
    return source


def load_meter(name: str, ctx: JobContext) -> tuple[Meter, str]:
    """The segmentation network and the hash of its weights. Raises ``UserError`` where there is none."""

    def build(config: dict[str, Any]) -> Meter:
        from models.echo.meter import Meter

        return Meter(**config["arguments"])

    ctx.progress(0, 1, "Loading the network")
    model: Any = ctx.weights.load(name, build, ctx.device)
    return model, ctx.weights.find(name).sha256


def measure_clip(
    model: Meter,
    frames: np.ndarray,
    fps: float,
    mm_per_px: float | None,
    ctx: JobContext,
    report: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, Measured]:
    """Labels uint8 [T, 112, 112] of frames uint8 [T, 112, 112], and what they tell.

    ``report(done, total)`` counts frames; without it the job's progress does.
    """
    from models.echo.meter import measure

    def follow(done: int, total: int) -> None:
        ctx.progress(done, total, "Outlining the chambers frame by frame")

    with ctx.weights.autocast(ctx.device):
        found = measure(model, frames, fps, mm_per_px, callback=report or follow)
    return found.labels, measured_of(found, fps, mm_per_px)


def measured_of(found: Measurement, fps: float, mm_per_px: float | None) -> Measured:
    """A measurement as plain values."""
    beats = found.beats
    return Measured(
        volumes=_plain(found.volumes.ml),
        smooth=_plain(beats.smooth),
        end_diastole=tuple(int(frame) for frame in beats.ed),
        end_systole=tuple(int(frame) for frame in beats.es),
        ef=_number(found.ef),
        discs_ef=_number(found.discs_ef),
        beat_ef=tuple(round(float(value), 4) for value in beats.beat_ef),
        heart_rate=_number(found.heart_rate),
        confidence=round(found.confidence, 4),
        whole=bool(beats.whole),
        mm_per_px=mm_per_px,
        fps=float(fps),
        notes=found.notes,
    )


def stored(frames: np.ndarray, labels: np.ndarray | None, measured: Measured | None, fps: float = 0.0) -> StoredClip:
    """The clip with what was measured, as it is kept; ``fps`` where nothing was measured."""
    if measured is None:
        return StoredClip(frames, fps, labels)
    volumes = np.array([math.nan if volume is None else volume for volume in measured.volumes], np.float32)
    return StoredClip(
        frames,
        measured.fps,
        labels,
        measured.mm_per_px,
        measured.end_diastole,
        measured.end_systole,
        volumes,
    )


def preview_png(frame: np.ndarray, labels: np.ndarray | None = None) -> bytes:
    """One frame, enlarged, with its labels."""
    large = enlarged(frame, PREVIEW_SIZE)
    if labels is None:
        return png_bytes(large)
    return png_bytes(overlaid(large, labels.repeat(PREVIEW_SIZE, axis=0).repeat(PREVIEW_SIZE, axis=1)))


def _plain(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(round(float(value), 5) if math.isfinite(value) else None for value in values)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)

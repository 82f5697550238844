"""The job that makes many clips: wishes over the range, clip after clip, then one ZIP and one table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.media.limits import Limits
from backend.media.stored_clip import read_stored_clip
from backend.provenance import Provenance
from backend.services.echo.batch import BatchRequest, BatchResult
from backend.services.echo.generate import check_wish, load_tools, make, table_of
from backend.services.echo.keep import EchoKeeper
from backend.services.echo.making import MOST_CLIPS, Made, Wish
from backend.settings import get_settings

SPLITS: tuple[tuple[Literal["TRAIN", "VAL", "TEST"], float], ...] = (
    ("TRAIN", 0.8),
    ("VAL", 0.9),
    ("TEST", 1.0),
)  # up to which share of the clips, in a drawn order


def run_batch(request: BatchRequest, ctx: JobContext) -> BatchResult:
    """See :func:`backend.services.echo.batch.batch`."""
    wishes = wishes_of(request)
    tools = load_tools(ctx, request)
    started = time.perf_counter()
    clips: list[Made] = []
    for index, wish in enumerate(wishes):
        name = f"Clip {index + 1} of {len(wishes)}"

        def report(share: float, note: str, picture: bytes | None, index: int = index, name: str = name) -> None:
            ctx.progress(index + share, len(wishes), f"{name}, EF {wishes[index].ef:.0f} %: {note}", picture)

        stem = f"echo-{wish.seed:06d}"
        clips.append(make(wish, request.model, tools, ctx, report, None, title=name, stem=stem, dicom=request.dicom))
    ctx.progress(len(wishes), len(wishes), "Packing the clips")
    keeper = EchoKeeper(ctx, True, (), tools.weights, request.seed, request.sampler, clips[0].steps)
    table = table_of(clips, keeper, "clips.csv")

    def write(path: Path, made: Provenance) -> None:
        _write_archive(path, clips, ctx, request, made)

    archive = keeper.add("echo-clips.zip", "application/zip", write, "archive")
    dicoms = _dicoms(clips, keeper, ctx) if request.dicom else ""
    ctx.progress(len(wishes), len(wishes))
    return BatchResult(tuple(clips), archive, table, dicoms, round(time.perf_counter() - started, 3))


def wishes_of(request: BatchRequest) -> list[Wish]:
    """One wish a clip; the same request gives the same wishes. Raises ``UserError`` for what cannot be made."""
    if not 1 <= request.count <= MOST_CLIPS:
        raise UserError(
            f"{request.count} clips cannot be made at once.", f"One batch makes 1 to {MOST_CLIPS}.", "Make several."
        )
    if request.ef_low > request.ef_high or request.rate_low > request.rate_high:
        raise UserError("A range ends before it begins.", "", "Exchange its ends.")
    rng = np.random.default_rng([request.seed, request.count])
    rates = rng.uniform(request.rate_low, request.rate_high, request.count)
    fractions = np.linspace(request.ef_low, request.ef_high, request.count)
    shared = {name: getattr(request, name) for name in ("frames", "fps", "guidance", "steps", "sampler", "schedule")}
    wishes = [
        Wish(ef=round(float(ef), 2), heart_rate=round(float(rate), 1), seed=request.seed + index, **shared)
        for index, (ef, rate) in enumerate(zip(fractions, rates, strict=True))
    ]
    for wish in (wishes[0], wishes[-1]):
        check_wish(wish)
    return wishes


def _write_archive(path: Path, clips: Sequence[Made], ctx: JobContext, request: BatchRequest, made: Provenance) -> None:
    from backend.media.echonet_write import EchoRecord, trace, write_zip

    limits = Limits.from_settings(get_settings())
    order = np.random.default_rng(request.seed).permutation(len(clips))

    def records() -> Iterator[EchoRecord]:
        for index, clip in enumerate(clips):
            ctx.check_cancelled()
            stored = read_stored_clip(ctx.open(clip.clip), limits)
            share = (int(order[index]) + 0.5) / len(clips)
            split = next(name for name, end in SPLITS if share < end)
            traced = {}
            for frame in (*stored.end_diastole[:1], *stored.end_systole[:1]):
                if stored.labels is not None and np.count_nonzero(stored.labels[frame] == 1) >= 100:
                    traced[frame] = trace(stored.labels[frame] == 1)
            # Volumes are left out: no scale is known of a clip that was made.
            yield EchoRecord(f"echo-{clip.seed:06d}", stored.frames, stored.fps, clip.ef, split=split, tracings=traced)

    write_zip(path, records(), made)


def _dicoms(clips: Sequence[Made], keeper: EchoKeeper, ctx: JobContext) -> str:
    """Id of a ZIP with every clip as DICOM."""
    from backend.media.write_zip import write_zip

    files = [(f"echo-{clip.seed:06d}.dcm", ctx.open(clip.dicom)) for clip in clips]
    return keeper.add(
        "echo-clips-dicom.zip", "application/zip", lambda path, made: write_zip(path, files, made), "archive"
    )

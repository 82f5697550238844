"""The job that makes many clips: wishes over the range, clip after clip, then one ZIP and one table."""

from __future__ import annotations

import time

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.services.echo.batch import BatchRequest, BatchResult
from backend.services.echo.batch_pack import pack
from backend.services.echo.generate import check_wish, load_tools, make
from backend.services.echo.keep import EchoKeeper
from backend.services.echo.making import MOST_CLIPS, Made, Wish


def run_batch(request: BatchRequest, ctx: JobContext) -> BatchResult:
    """See :func:`backend.services.echo.batch.batch`."""
    wishes = wishes_of(request)
    tools = load_tools(ctx, request)
    started = time.perf_counter()
    clips: list[Made] = []
    for index, wish in enumerate(wishes):
        name = f"Clip {index + 1} of {len(wishes)}"

        def report(share: float, note: str, picture: bytes | None, index: int = index, name: str = name) -> None:
            # As a share: a count of clips would be told as steps, beside those of the sampler.
            done = (index + share) / len(wishes)
            ctx.progress(done, 1, f"{name}, EF {wishes[index].ef:.0f} %: {note}", picture)

        stem = f"echo-{wish.seed:06d}"
        clips.append(make(wish, request.model, tools, ctx, report, None, title=name, stem=stem, dicom=request.dicom))
    ctx.progress(1, 1, "Packing the clips")
    keeper = EchoKeeper(ctx, True, (), tools.weights, request.seed, request.sampler, clips[0].steps)
    stored = [ctx.view(clip.clip) for clip in clips]
    packed = pack(stored, [ctx.view(clip.dicom) for clip in clips if clip.dicom], keeper, request.seed)
    ctx.progress(1, 1)
    seconds = round(time.perf_counter() - started, 3)
    return BatchResult(tuple(clips), packed.archive, packed.table, packed.dicoms, seconds)


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

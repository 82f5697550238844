"""Clips of a batch as one ZIP in the layout of EchoNet-Dynamic, one table, and one ZIP of DICOM files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import ArtifactView, JobContext
from backend.media.limits import Limits
from backend.media.stored_clip import read_stored_clip
from backend.provenance import Provenance
from backend.services.echo.batch import CollectRequest, CollectResult
from backend.services.echo.keep import EchoKeeper
from backend.services.echo.making import MODELS
from backend.settings import get_settings

SPLITS: tuple[tuple[Literal["TRAIN", "VAL", "TEST"], float], ...] = (
    ("TRAIN", 0.8),
    ("VAL", 0.9),
    ("TEST", 1.0),
)  # up to which share of the clips, in a drawn order
TRACED_PIXELS = 100  # a smaller ventricle is not traced
COLUMNS = ("clip", "seed", "EF asked for [%]", "EF measured [%]", "heart rate asked for [/min]",
           "heart rate measured [/min]", "model", "schedule", "steps", "seconds")  # fmt: skip


@dataclass(frozen=True)
class Packed:
    """The ids of the three artifacts; '' where no DICOM was asked for."""

    archive: str
    table: str
    dicoms: str


def run_collect(request: CollectRequest, ctx: JobContext) -> CollectResult:
    """See :func:`backend.services.echo.batch.collect`."""
    clips = [ctx.view(clip) for clip in dict.fromkeys(request.clips)]
    if not clips:
        raise UserError("There is nothing to pack.", "No clip was finished.", "Make the clips again.")
    if any(clip.kind != "clip" or "ef" not in clip.properties for clip in clips):
        raise UserError("Only clips that were made can be packed.", "", "Name clips of a batch.")
    if len({clip.name for clip in clips}) < len(clips):
        raise UserError("Two clips have the same name.", "They come from different batches.", "Pack one batch.")
    first = clips[0].provenance
    parents = (*(clip.id for clip in clips), *request.dicoms)
    keeper = EchoKeeper(ctx, True, parents, first.weights, request.seed, first.sampler.partition(" ")[0], first.steps)
    packed = pack(clips, [ctx.view(dicom) for dicom in request.dicoms], keeper, request.seed)
    ctx.progress(1, 1)
    return CollectResult(packed.archive, packed.table, packed.dicoms, len(clips))


def pack(clips: Sequence[ArtifactView], dicoms: Sequence[ArtifactView], keeper: EchoKeeper, seed: int) -> Packed:
    """Store ZIP and table of stored clips, and a ZIP of ``dicoms`` if there are any; ``seed`` draws the splits."""
    table = keeper.rows("clips.csv", COLUMNS, [_row(clip) for clip in clips])

    def write(path: Path, made: Provenance) -> None:
        _write_archive(path, clips, keeper.ctx, seed, made)

    archive = keeper.add("echo-clips.zip", "application/zip", write, "archive")
    return Packed(archive, table, _write_dicoms(dicoms, keeper) if dicoms else "")


def _row(clip: ArtifactView) -> tuple[object, ...]:
    told = clip.properties
    facts = [told.get(name) for name in ("ef", "measured_ef", "heart_rate", "measured_heart_rate")]
    model = MODELS[told["model"]][0] if told.get("model") in MODELS else ""
    how = [told.get("schedule", ""), clip.provenance.steps, told.get("seconds")]
    return (_stem(clip), clip.provenance.seed, *facts, model, *how)


def _stem(clip: ArtifactView) -> str:
    """The name that a clip has in the ZIP and in the table."""
    return Path(clip.name).stem


def _write_archive(path: Path, clips: Sequence[ArtifactView], ctx: JobContext, seed: int, made: Provenance) -> None:
    from backend.media.echonet_write import EchoRecord, trace, write_zip

    limits = Limits.from_settings(get_settings())
    order = np.random.default_rng(seed).permutation(len(clips))

    def records() -> Iterator[EchoRecord]:
        for index, clip in enumerate(clips):
            ctx.check_cancelled()
            stored = read_stored_clip(ctx.open(clip.id), limits)
            share = (int(order[index]) + 0.5) / len(clips)
            split = next(name for name, end in SPLITS if share < end)
            traced = {}
            for frame in (*stored.end_diastole[:1], *stored.end_systole[:1]):
                if stored.labels is not None and np.count_nonzero(stored.labels[frame] == 1) >= TRACED_PIXELS:
                    traced[frame] = trace(stored.labels[frame] == 1)
            # Volumes are left out: no scale is known of a clip that was made.
            yield EchoRecord(
                _stem(clip),
                stored.frames,
                stored.fps,
                float(clip.properties["ef"]),
                split=split,
                tracings=traced,
                measured_ef=clip.properties.get("measured_ef"),
            )

    write_zip(path, records(), made)


def _write_dicoms(dicoms: Sequence[ArtifactView], keeper: EchoKeeper) -> str:
    from backend.media.write_zip import write_zip

    files = [(dicom.name, keeper.ctx.open(dicom.id)) for dicom in dicoms]
    return keeper.add(
        "echo-clips-dicom.zip", "application/zip", lambda path, made: write_zip(path, files, made), "archive"
    )

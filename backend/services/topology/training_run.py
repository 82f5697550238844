"""The training job: read the masks, fit, measure, keep the weights, and leave a checkpoint when it is stopped."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.provenance import Provenance
from backend.services.topology.training import (
    MEASURES,
    METHODS,
    MOST_MINUTES,
    Measured,
    TrainRefinerRequest,
    TrainRefinerResult,
    ValidationRow,
    refiner_name,
)
from backend.services.topology.training_list import free_name, weights_folder, work_folder
from backend.services.topology.training_masks import MaskSet, read_training_masks
from backend.services.training_plot import loss_picture, thinned
from backend.settings import get_settings

if TYPE_CHECKING:
    from backend.training.recipe import TrainReport
    from models.fitting import FitState

PICTURE_EVERY_S = 1.0
PACKED = ("model.safetensors", "config.json", "CARD.md", "samples.png")


def run_training(request: TrainRefinerRequest, ctx: JobContext) -> TrainRefinerResult:
    """See :func:`backend.services.topology.training.train`."""
    from backend.training.checkpoint import OtherTraining
    from backend.training.topology import TrainRequest, train

    name = refiner_name(request.name)
    home = get_settings().home
    free_name(home, name)
    if not 0 < request.minutes <= MOST_MINUTES:
        raise UserError(
            f"{request.minutes:g} minutes cannot be trained.", f"It takes more than 0 and at most {MOST_MINUTES:g}."
        )
    ctx.progress(0, 1, "Reading the masks")
    given = read_training_masks(
        [ctx.open(artifact_id) for artifact_id in request.masks],
        lambda done, total: ctx.progress(0, 1, f"Reading the masks, {done} of {total}"),
    )
    ctx.progress(0, 1, "Loading the network")
    out = work_folder(home, name)
    try:
        report = train(
            TrainRequest(
                out=out,
                minutes=request.minutes,
                device=ctx.device,
                seed=request.seed,
                resume=request.resume,
                dimensions=given.dimensions,
                start=request.start,
                recipe=request.recipe,
                errors=dict(request.errors),
                command=f"Topology tab, Your own refiner, {request.minutes:g} minutes",
                source=_source(request, ctx),
            ),
            masks=given.masks,
            watch=_watch(ctx),
        )
    except OtherTraining:
        raise UserError(
            f"A stopped training called {name!r} is kept, and it is another one.",
            "Its masks, seed, errors or starting weights differ from these.",
            "Choose another name, or discard the stopped training in the list of refiners.",
        ) from None
    result = _keep(request, name, given, report, ctx)
    target = weights_folder(home, name)
    free_name(home, name)  # another process may have made one meanwhile
    target.parent.mkdir(parents=True, exist_ok=True)
    out.rename(target)
    return result


def _source(request: TrainRefinerRequest, ctx: JobContext) -> str:
    """What the card calls the masks: a phantom is called a phantom."""
    drawn = sum(ctx.view(artifact_id).properties.get("label") == "phantom" for artifact_id in request.masks)
    if drawn == len(request.masks):
        return "phantom masks, drawn by a program"
    return f"masks given by their owner, {drawn} phantoms among those given" if drawn else ""


def _watch(ctx: JobContext) -> Callable[[str, float, FitState], None]:
    """Reports progress with the loss curve as preview; raises at a cancellation, which leaves a checkpoint."""
    drawn_at = float("-inf")

    def watch(phase: str, fraction: float, state: FitState) -> None:
        nonlocal drawn_at
        if phase == "measure":
            ctx.progress(0.999, 1, f"Trained; measuring, {fraction:.0%} done", loss_picture(state.losses))
            return
        picture = None
        if time.monotonic() - drawn_at >= PICTURE_EVERY_S:
            picture = loss_picture(state.losses)
            drawn_at = time.monotonic()
        loss = float(np.mean(state.losses[-50:]))
        ctx.progress(min(0.999, fraction), 1, f"Training, step {state.step:,}, loss {loss:.3f}", picture)

    return watch


def _keep(
    request: TrainRefinerRequest, name: str, given: MaskSet, report: TrainReport, ctx: JobContext
) -> TrainRefinerResult:
    """Store sheet, archive, curve and table as artifacts; gives the result."""
    from PIL import Image

    from backend.media.write_csv import write_csv
    from backend.media.write_png import write_png

    weights = {f"topology/{name}": report.sha256}

    def keep(file: str, media_type: str, kind: str, write: Callable[[Path, Provenance], None]) -> str:
        return ctx.artifact(
            f"{name}-{file}",
            media_type,
            write,
            kind=kind,
            synthetic=False,
            parents=request.masks,
            seed=request.seed,
            steps=report.steps,
            weights=weights,
            properties={"weights": f"topology/{name}"},
        ).id

    with Image.open(report.folder / "samples.png") as picture:
        samples = np.asarray(picture)
    rows = tuple(_row(method, report) for method in METHODS)
    return TrainRefinerResult(
        weights=f"topology/{name}",
        sha256=report.sha256,
        dimensions=given.dimensions,
        masks=report.learnt_from,
        measured=len(report.each["refiner.dice"]),
        held_out=report.held_out,
        steps=report.steps,
        minutes=round(report.minutes, 2),
        rows=rows,
        losses=tuple(round(float(value), 5) for value in thinned(report.losses, 200)),
        notes=given.notes,
        card=(report.folder / "CARD.md").read_text(encoding="utf-8"),
        sheet=keep("samples.png", "image/png", "image", lambda path, made: write_png(path, samples, made)),
        archive=keep(
            "weights.zip", "application/zip", "weights", lambda path, made: _pack(path, name, report.folder, made)
        ),
        curve=keep(
            "loss.csv",
            "text/csv",
            "table",
            lambda path, made: write_csv(path, ("step", "loss"), enumerate(report.losses, 1), made),
        ),
        table=keep("validation.csv", "text/csv", "table", lambda path, made: _write_table(path, report, made)),
    )


def _row(method: str, report: TrainReport) -> ValidationRow:
    from backend.training.topology import interval

    found = {}
    for measure in MEASURES:
        values = report.each[f"{method}.{measure}"]
        mean, low, high = interval(values)
        found[measure] = Measured(mean, low, high) if len(values) > 1 else Measured(mean)
    return ValidationRow(method, found)


def _write_table(path: Path, report: TrainReport, made: Provenance) -> None:
    """One row a measured mask and method."""
    from backend.media.write_csv import write_csv

    count = len(report.each["refiner.dice"])
    rows: list[Sequence[object]] = [
        (number + 1, method, *(report.each[f"{method}.{measure}"][number] for measure in MEASURES))
        for number in range(count)
        for method in METHODS
    ]
    write_csv(path, ("mask", "method", *MEASURES), rows, made)


def _pack(path: Path, name: str, folder: Path, made: Provenance) -> None:
    """A ZIP of the weight folder with its origin, ready to be unpacked under ``weights/topology``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in PACKED:
            archive.writestr(zipfile.ZipInfo(f"{name}/{file}"), (folder / file).read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(f"{name}/provenance.json"), made.to_json(), zipfile.ZIP_DEFLATED)

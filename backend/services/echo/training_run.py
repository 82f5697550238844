"""The training job: find the folder, fit, measure beside the default weights, keep the weights or a checkpoint."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.provenance import Provenance
from backend.services.echo.needs import AUTOENCODER, DEFAULTS, missing, part_of
from backend.services.echo.training import (
    MOST_MINUTES,
    OWN,
    PHANTOM_CLIPS,
    Interval,
    MeasuredRow,
    OwnPart,
    TrainEchoRequest,
    TrainEchoResult,
)
from backend.services.echo.training_folder import find_folder
from backend.services.keeper import Keeper
from backend.services.training_plot import loss_picture, thinned
from backend.settings import get_settings

if TYPE_CHECKING:
    from backend.training.echo_latents import Latents
    from backend.training.recipe import TrainReport
    from models.echo.autoencoder import Autoencoder
    from models.echo.denoiser import Denoiser
    from models.fitting import FitState

PICTURE_EVERY_S = 1.0
PACKED = ("model.safetensors", "config.json", "CARD.md", "samples.png")
KEPT_CODES = 3
"""Files of coded clips that stay, so that an image and a video model of one folder read it once."""
Values = Mapping[str, list[float]]


def run_training(request: TrainEchoRequest, ctx: JobContext) -> TrainEchoResult:
    """See :func:`backend.services.echo.training.train`."""
    from backend.training.checkpoint import OtherTraining
    from backend.training.echo import TrainRequest, train

    name = OWN.name(request.name)
    settings = get_settings()
    OWN.free(settings.home, name)
    _check(request)
    folder, notes = _folder(request, settings.data_roots)
    out, codes = OWN.work(settings.home, name), _codes_file(request, folder, settings.home)
    ctx.progress(0, 1, "Loading the networks")
    follow = _Follow(ctx)
    try:
        report = train(
            TrainRequest(
                out=out,
                part=request.part,
                minutes=request.minutes,
                data=folder,
                device=ctx.device,
                seed=request.seed,
                resume=request.resume,
                clips=request.clips,
                latents=str(codes),
                autoencoder=request.autoencoder,
                size=request.size,
                command=f"Echo tab, Your own generator, {request.minutes:g} minutes",
            ),
            progress=follow.before,
            watch=follow.watch,
        )
    except OtherTraining:
        raise UserError(
            f"A stopped training called {name!r} is kept, and it is another one.",
            "Its part, clips, seed, size or autoencoder differ from these.",
            "Choose another name, or discard the stopped training in the list of networks.",
        ) from None
    ctx.progress(0.999, 1, "Measuring the default weights beside it")
    others, more = _others(request, report, codes, ctx)
    result = _keep(
        request, name, report, {"own": report.each, **others}, follow.losses, (*notes, *report.notes, *more), ctx
    )
    _forget_old_codes(codes.parent)
    target = OWN.folder(settings.home, name)
    OWN.free(settings.home, name)  # another process may have made one meanwhile
    target.parent.mkdir(parents=True, exist_ok=True)
    out.rename(target)
    return result


def _check(request: TrainEchoRequest) -> None:
    """Raise ``UserError`` for numbers that cannot be."""
    if not 0 < request.minutes <= MOST_MINUTES:
        raise UserError(
            f"{request.minutes:g} minutes cannot be trained.", f"It takes more than 0 and at most {MOST_MINUTES:g}."
        )
    low, high = PHANTOM_CLIPS
    if not request.folder and request.part != "autoencoder" and not low <= request.clips <= high:
        raise UserError(
            f"{request.clips} phantom clips cannot be trained on.", f"It takes {low} to {high:,}.", "Choose in between."
        )


def _folder(request: TrainEchoRequest, roots: list[Path]) -> tuple[Path | None, tuple[str, ...]]:
    """The folder to learn from, ``None`` for phantoms, and what to say about it."""
    if not request.folder and request.part == "autoencoder":
        return None, ("It learnt from phantoms, and a real clip where pydicom-data brings one; the card tells.",)
    if not request.folder:
        return None, ("It learnt from phantoms, drawn by a program.",)
    from backend.media.echonet import read_folder

    _, path = find_folder(request.folder, roots)
    read = read_folder(path)
    return path, (f"The table of the folder names {len(read)} clips that are there.", *read.notes)


def _codes_file(request: TrainEchoRequest, folder: Path | None, home: Path) -> Path:
    """Where the coded clips are kept: one file a source and autoencoder."""
    source = f"{request.autoencoder}\n{folder or request.clips}"
    return home / "training" / "echo-codes" / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.npz"


def _forget_old_codes(folder: Path) -> None:
    kept = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []
    for path in kept[KEPT_CODES:]:
        path.unlink(missing_ok=True)


class _Follow:
    """Reports a training as progress of the job, with the loss as preview; raises at a cancellation."""

    def __init__(self, ctx: JobContext) -> None:
        self._ctx = ctx
        self._drawn_at = float("-inf")
        self.losses: list[float] = []

    def before(self, fraction: float, note: str) -> None:
        """While clips are read; later :meth:`watch` tells more."""
        if not self.losses:
            self._ctx.progress(0, 1, note[:1].upper() + note[1:])

    def watch(self, phase: str, fraction: float, state: FitState) -> None:
        self.losses = state.losses
        picture = None
        if time.monotonic() - self._drawn_at >= PICTURE_EVERY_S:
            picture = loss_picture(state.losses)
            self._drawn_at = time.monotonic()
        loss = float(np.mean(state.losses[-50:]))
        self._ctx.progress(min(0.999, fraction), 1, f"Training, step {state.step:,}, loss {loss:.3f}", picture)


def _others(
    request: TrainEchoRequest, report: TrainReport, codes: Path, ctx: JobContext
) -> tuple[dict[str, Values], tuple[str, ...]]:
    """Measures of the default weights where they can be compared, and of no network; notes on both."""
    if request.part == "autoencoder":
        found: dict[str, Values] = {"baseline": {"autoencoder.psnr": report.each["components.psnr"]}}
        if not missing(ctx.weights, (AUTOENCODER,)):
            found["shipped"] = {"autoencoder.psnr": _round_trip_of_default(ctx)}
        beside = ("Frames of phantoms were learnt from beside those of the clips.",) if request.folder else ()
        return found, (*beside, "The round trip is measured on frames of held-out phantoms.")
    from backend.training.echo_generator import GeneratorRequest, held_out_loss
    from backend.training.echo_latents import load_kept

    kept = cast("Latents", load_kept(codes))
    what = "stretches" if request.folder else "phantom clips"
    notes: tuple[str, ...] = (
        f"It learnt from {len(kept) - report.held_out} {what}; held out for measuring: {report.held_out}.",
    )
    found = {"baseline": {key: [1.0] for key in report.each}}
    default = DEFAULTS[request.part]
    if missing(ctx.weights, (default,)):
        return found, (*notes, f"{default} is not installed, so there is no comparison with it.")
    weight = ctx.weights.find(default)
    code = ctx.weights.find(request.autoencoder).sha256
    fits = weight.config.get("autoencoder_sha256", ctx.weights.find(AUTOENCODER).sha256) == code
    if part_of(weight) != request.part or not fits:
        return found, (*notes, f"{default} works in the code of another autoencoder, so it cannot be compared.")
    from models.echo.denoiser import Denoiser

    model = ctx.weights.load(default, lambda config: Denoiser(**config["arguments"]), "cpu")
    asked = GeneratorRequest(out=codes.parent, part=request.part, seed=request.seed)
    found["shipped"] = held_out_loss(cast("Denoiser", model), kept, asked, report.held_out)
    if not request.folder:
        notes = (*notes, f"{default} may have learnt from the phantoms that are held out here.")
    return found, notes


def _round_trip_of_default(ctx: JobContext) -> list[float]:
    """PSNR in dB of the default autoencoder on the frames that the recipe measures on."""
    from backend.training.echo_autoencoder import AutoencoderRequest, held_out_frames, psnr, round_trip
    from models.echo.autoencoder import Autoencoder

    model = ctx.weights.load(AUTOENCODER, lambda config: Autoencoder(**config["arguments"]), "cpu")
    truth = held_out_frames(AutoencoderRequest(Path()).validation)
    return psnr(round_trip(cast("Autoencoder", model), truth), truth)


def _rows(part: OwnPart, each: Mapping[str, Values]) -> tuple[MeasuredRow, ...]:
    """One row a thing that was measured."""
    from backend.training.topology_measure import interval

    def told(values: list[float]) -> Interval:
        return Interval(*interval(values)) if len(values) > 1 else Interval(values[0])

    keys = ["autoencoder.psnr"] if part == "autoencoder" else list(each["own"])
    titles = ["PSNR, dB"] if part == "autoencoder" else [f"σ = {key[len('sigma=') : -len('.loss')]}" for key in keys]
    return tuple(
        MeasuredRow(title, {method: told(values[key]) for method, values in each.items()})
        for key, title in zip(keys, titles, strict=True)
    )


def _keep(
    request: TrainEchoRequest,
    name: str,
    report: TrainReport,
    each: Mapping[str, Values],
    losses: list[float],
    notes: tuple[str, ...],
    ctx: JobContext,
) -> TrainEchoResult:
    """Store sheet, archive, curve and table as artifacts; gives the result."""
    from backend.media.write_csv import write_csv

    weights = f"echo/{name}"
    rows = _rows(request.part, each)
    keeper = Keeper(ctx, False, (), {weights: report.sha256}, request.seed, "", report.steps)
    facts = {"weights": weights}

    def curve(path: Path, made: Provenance) -> None:
        write_csv(path, ("step", "loss"), enumerate(losses, 1), made)

    def table(path: Path, made: Provenance) -> None:
        lines = [
            (row.title, method, value.mean, value.low, value.high)
            for row in rows
            for method, value in row.values.items()
        ]
        write_csv(path, ("measured", "network", "mean", "low", "high"), lines, made)

    def pack(path: Path, made: Provenance) -> None:
        _pack(path, name, report.folder, made)

    return TrainEchoResult(
        weights=weights,
        sha256=report.sha256,
        part=request.part,
        steps=report.steps,
        minutes=round(report.minutes, 2),
        held_out=report.held_out,
        rows=rows,
        losses=tuple(round(float(value), 5) for value in thinned(losses, 200)),
        notes=notes,
        card=(report.folder / "CARD.md").read_text(encoding="utf-8"),
        sheet=_sheet(keeper, name, report.folder / "samples.png", facts),
        archive=keeper.add(f"{name}-weights.zip", "application/zip", pack, "weights", facts),
        curve=keeper.add(f"{name}-loss.csv", "text/csv", curve, "table", facts),
        table=keeper.add(f"{name}-validation.csv", "text/csv", table, "table", facts),
    )


def _sheet(keeper: Keeper, name: str, file: Path, facts: Mapping[str, str]) -> str:
    """Id of the picture of samples, '' where the recipe draws none."""
    if not file.is_file():
        return ""
    from PIL import Image

    from backend.media.write_png import write_png

    with Image.open(file) as picture:
        samples = np.asarray(picture)

    def write(path: Path, made: Provenance) -> None:
        write_png(path, samples, made)

    return keeper.add(f"{name}-samples.png", "image/png", write, "image", facts)


def _pack(path: Path, name: str, folder: Path, made: Provenance) -> None:
    """A ZIP of the weight folder with its origin, ready to be unpacked under ``weights/echo``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in PACKED:
            if (folder / file).is_file():
                archive.writestr(zipfile.ZipInfo(f"{name}/{file}"), (folder / file).read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(f"{name}/provenance.json"), made.to_json(), zipfile.ZIP_DEFLATED)

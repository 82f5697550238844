"""The recipe of the topology refiners: read clean masks (or draw phantoms), fit, validate, write weights and a card.

The shipped weights come from this recipe with its defaults; their cards give the exact command. A person's own refiner
is the same call with a folder of masks.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.training.checkpoint import load_checkpoint, save_checkpoint, write_weights
from models.phantoms import curvilinear, segmenter

if TYPE_CHECKING:
    from models.topology.refiner import Refiner

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".nii", ".gz", ".bmp")
PHANTOM_SEEDS = {"train": 0, "validation": 100_000}


@dataclass(frozen=True)
class TrainRequest:
    """What to train. ``minutes`` counts all runs of a resumed training together.

    ``masks``: folder of clean masks, ``None`` for phantoms; ``out``: folder that gets the weights and the checkpoint;
    ``name``: what the card calls it; ``recipe``: ``"clustered"`` or ``"polynomial"``; ``phantoms``: how many are drawn.
    """

    out: Path
    minutes: float = 20.0
    masks: Path | None = None
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    dimensions: int = 2
    recipe: str = "clustered"
    phantoms: int = 300
    size: int = 384
    command: str = ""


@dataclass(frozen=True)
class TrainReport:
    """What came of it. ``validation`` maps ``<method>.<measure>`` to a mean over the validation set."""

    folder: Path
    steps: int
    minutes: float
    masks: int
    sha256: str
    validation: dict[str, float]


Progress = Callable[[float, str], None]


def train(request: TrainRequest, *, progress: Progress | None = None) -> TrainReport:
    """Train a refiner and write ``model.safetensors``, ``config.json``, ``CARD.md`` and a sample sheet to ``out``.

    ``progress(fraction, note)`` may raise to stop; the checkpoint stays and a later call goes on from it. Raises
    ``UserError`` when the folder holds no usable mask, or the request cannot be met.
    """
    import torch

    from models.topology.fit import FitConfig, FitState, fit
    from models.topology.perturb import PerturbationConfig
    from models.topology.refiner import Refiner

    _check(request)
    masks, held_out = _masks(request, progress)
    request.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(request.seed)
    model = Refiner(dimensions=request.dimensions, widths=WIDTHS[request.dimensions]).to(request.device)
    config = FitConfig(
        crop=192 if request.dimensions == 2 else 64,
        batch=8 if request.dimensions == 2 else 2,
        # Phantoms stand for structures of any calibre; a person's own masks have theirs.
        zoom=(0.7, 1.4) if request.masks else (0.45, 1.5),
        perturbation=PerturbationConfig(recipe=request.recipe),
    )
    checkpoint = request.out / "checkpoint.pt"
    described = _described(request, masks)
    state = load_checkpoint(checkpoint, described) if request.resume else None
    state = state or FitState()
    last = time.monotonic()

    def report(step: int, fraction: float, loss: float) -> None:
        nonlocal last
        if progress:
            progress(fraction, f"step {step}, loss {np.mean(state.losses[-50:]):.4f}")
        if time.monotonic() - last > 120:
            last = time.monotonic()
            raise _Checkpoint

    while True:
        try:
            fit(model, masks, config, minutes=request.minutes, seed=request.seed, state=state, callback=report)
            break
        except _Checkpoint:
            save_checkpoint(checkpoint, state, described)
        except BaseException:
            save_checkpoint(checkpoint, state, described)
            raise
    model.to("cpu")
    each = validate_each(model, held_out)
    validation = {key: float(np.mean(values)) for key, values in each.items()}
    sha256 = write_weights(
        request.out,
        model,
        {"class": "models.topology.refiner:Refiner", "arguments": model.arguments},
        _card(request, state, masks, held_out, each, model),
    )
    _sample_sheet(request.out / "samples.png", model, held_out)
    checkpoint.unlink(missing_ok=True)
    return TrainReport(request.out, state.step, state.seconds / 60, len(masks), sha256, validation)


WIDTHS: dict[int, tuple[int, ...]] = {2: (16, 32, 48, 64), 3: (16, 32, 48)}


class _Checkpoint(Exception):
    """Leaves the fit for a moment to save; the next call goes on with the same state."""


def validation_set(dimensions: int = 2, count: int = 4, size: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Held-out phantoms: pairs of (clean bool mask, probability by the simulated segmenter, float32), ``count`` a kind.

    Neither the identities nor the way they are damaged occur in training.
    """
    kinds = curvilinear.KINDS if dimensions == 2 else curvilinear.KINDS_3D
    shape = (size or (320 if dimensions == 2 else 64),) * dimensions
    pairs = []
    for kind in kinds:
        for index in range(count):
            seed = PHANTOM_SEEDS["validation"] + index
            clean = curvilinear.sample(kind, shape, seed)
            pairs.append((clean, segmenter.simulate(clean, seed, difficulty=0.8)))
    return pairs


def validate(model: Refiner, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Means of :func:`validate_each` over the pairs."""
    return {key: float(np.mean(values)) for key, values in validate_each(model, pairs).items()}


def validate_each(model: Refiner, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, list[float]]:
    """Measures of the upstream, a trivial repair, and the refiner, for each (clean, upstream probability) pair.

    Keys ``<method>.<measure>``: Dice, clDice, |Δβ₀|, |Δβ₁| and Betti matching error (8- or 26-connected foreground).
    """
    from models.topology.inference import refine
    from models.topology.repairs import tidy

    found: dict[str, list[float]] = {}
    for clean, upstream in pairs:
        methods = {
            "upstream": upstream > 0.5,
            "fillholes": tidy(upstream > 0.5, **TIDY),
            "refiner": tidy(refine(model, upstream) > 0.5, **TIDY),
        }
        for method, mask in methods.items():
            for measure, value in measures(mask, clean).items():
                found.setdefault(f"{method}.{measure}", []).append(value)
    return found


TIDY: dict[str, Any] = {"size": 40, "share": 0.15, "least": 32}
"""Pixels below which a piece goes, share of the median hole and pixels below which a hole is filled: after refinement
of a phantom, and by the trivial repair that stands beside it."""


def measures(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice, clDice, |Δβ₀|, |Δβ₁| and Betti matching error of one mask against its truth."""
    from models.metrics.betti import betti_errors
    from models.metrics.matching import betti_matching_error
    from models.metrics.overlap import cldice, dice

    b0, b1 = betti_errors(predicted, truth)[:2]
    return {
        "dice": dice(predicted, truth),
        "cldice": cldice(predicted, truth),
        "b0": float(b0),
        "b1": float(b1),
        "matching": float(betti_matching_error(predicted, truth)),
    }


def _masks(
    request: TrainRequest, progress: Progress | None
) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    if request.masks is not None:
        masks = [mask for mask in read_masks(request.masks, request.dimensions) if mask.any()]
        # The last tenth is held out when there are enough; a few masks are all needed for training.
        cut = len(masks) - max(1, len(masks) // 10) if len(masks) >= 5 else len(masks)
        held_out = masks[cut:] or masks
        return masks[:cut], [(mask, segmenter.simulate(mask, i, difficulty=0.8)) for i, mask in enumerate(held_out)]
    kinds = list(curvilinear.KINDS if request.dimensions == 2 else curvilinear.KINDS_3D)
    side = request.size if request.dimensions == 2 else 80
    masks = []
    for index in range(request.phantoms):
        mask = curvilinear.sample(kinds[index % len(kinds)], (side,) * request.dimensions, index)
        # Half keep their drawn edges, half get edges as uneven as real masks have.
        masks.append(curvilinear.weathered(mask, index) if index % 2 else mask)
        if progress and index % 10 == 0:
            progress(0.0, f"drawing phantom {index + 1} of {request.phantoms}")
    return masks, validation_set(request.dimensions)


def read_masks(folder: Path, dimensions: int) -> list[np.ndarray]:
    """All masks of a folder (PNG, TIFF, NPY, NPZ, NIfTI), bool, sorted by name.

    A file is a mask when it has the wanted number of dimensions and at most two values; foreground is the larger.
    Raises ``UserError`` when the folder does not exist, or a file in it is no such mask.
    """
    from backend.media.arrays import read_arrays
    from backend.media.images import read_image
    from backend.media.limits import Limits
    from backend.media.nifti import read_nifti

    if not folder.is_dir():
        raise UserError("The folder of masks does not exist.", what_to_do="Give a folder that holds one mask a file.")
    limits = Limits()
    masks = []
    for index, path in enumerate(sorted(p for p in folder.iterdir() if p.name.lower().endswith(MASK_SUFFIXES)), 1):
        name = path.name.lower()
        if name.endswith((".nii", ".nii.gz")):
            array = np.asarray(read_nifti(path, limits).array)
        elif name.endswith((".npy", ".npz")):
            array = next(iter(read_arrays(path, limits).values()))
        else:
            array = read_image(path, limits)
        if array.ndim == 3 and dimensions == 2 and array.shape[-1] in (1, 2, 3, 4):  # a slice, or colours
            array = array[..., 0]
        values = np.unique(array)
        if array.ndim != dimensions or len(values) > 2 or not np.isfinite(values).all():
            raise UserError(
                f"File number {index} of the folder is not a {dimensions}D mask.",
                f"It has {array.ndim} dimensions and {len(values)} different values; a mask has two, and no NaN.",
                "Leave only clean binary masks in the folder.",
            )
        masks.append(array == values[-1] if len(values) == 2 else array.astype(bool))
    if not any(mask.any() for mask in masks):
        raise UserError(
            "There is nothing to train on.",
            "The folder holds no mask with any foreground.",
            "Give a folder of PNG, TIFF, NPY, NPZ or NIfTI masks.",
        )
    return masks


def _check(request: TrainRequest) -> None:
    from models.topology.perturb import RECIPES

    if request.dimensions not in WIDTHS:
        raise UserError(f"There is no refiner of {request.dimensions} dimensions.", what_to_do="Choose 2 or 3.")
    if request.recipe not in RECIPES:
        raise UserError(f"There is no recipe called {request.recipe!r}.", what_to_do=f"Choose {' or '.join(RECIPES)}.")
    if request.minutes <= 0 or (request.masks is None and request.phantoms < 1):
        raise UserError("Training needs time and something to train on.", what_to_do="Give numbers above zero.")


def _described(request: TrainRequest, masks: list[np.ndarray]) -> dict[str, Any]:
    """What must be equal for a checkpoint to be continued."""
    digest = hashlib.sha256()
    for mask in masks:
        digest.update(repr(mask.shape).encode() + np.packbits(mask).tobytes())
    return {
        "masks": digest.hexdigest(),
        "seed": request.seed,
        "dimensions": request.dimensions,
        "recipe": request.recipe,
        "widths": list(WIDTHS[request.dimensions]),
    }


def _sample_sheet(path: Path, model: Refiner, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A PNG: clean, upstream and refined beside each other for up to five held-out masks (the middle slice in 3D)."""
    from PIL import Image

    from models.topology.inference import refine
    from models.topology.repairs import tidy

    rows = []
    for clean, upstream in pairs[:: max(1, len(pairs) // 5)][:5]:
        refined = tidy(refine(model, upstream) > 0.5, **TIDY)
        shown = [clean, upstream > 0.5, refined]
        if clean.ndim == 3:
            shown = [mask.max(0) for mask in shown]
        side = 192
        tiles = [np.asarray(Image.fromarray(m.astype(np.uint8) * 255).resize((side, side))) for m in shown]
        rows.append(np.hstack([np.pad(tile, 2, constant_values=128) for tile in tiles]))
    temporary = path.with_suffix(".part")
    Image.fromarray(np.vstack(rows)).save(temporary, format="PNG", optimize=True)
    temporary.replace(path)


def _with_interval(values: list[float]) -> str:
    """Mean and percentile bootstrap interval."""
    drawn = np.random.default_rng(0).choice(values, size=(2000, len(values))).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{np.mean(values):.4g} [{low:.4g}, {high:.4g}]"


def _card(
    request: TrainRequest,
    state: Any,
    masks: list[np.ndarray],
    held_out: list[tuple[np.ndarray, np.ndarray]],
    rows_of: dict[str, list[float]],
    model: Refiner,
) -> str:
    count = len(masks)
    measured_on = "Held-out masks" if request.masks else "Held-out phantoms"
    if any(clean is mask for clean, _ in held_out for mask in masks):
        measured_on = "The masks of the training itself (too few to hold any out)"
    weights = sum(parameter.numel() for parameter in model.parameters())
    names = ("dice", "cldice", "b0", "b1", "matching")
    rows = "\n".join(
        f"| {method} | " + " | ".join(_with_interval(rows_of[f"{method}.{name}"]) for name in names) + " |"
        for method in ("upstream", "fillholes", "refiner")
    )
    source = (
        f"{count} masks of a folder given by its owner."
        if request.masks
        else f"{count} curvilinear phantoms drawn by `models/phantoms/curvilinear.py` (vessel trees, membranes, "
        "mortar, road nets), every second one with uneven edges. No image and no mask of any patient.\n"
        "Their proportions and edges were chosen while looking at ten masks of TopoMortar (001 to 010); none of them\n"
        "was trained on."
    )
    licence = (
        "As the masks it was trained on." if request.masks else "Same as the code; phantoms carry no other licence."
    )
    return f"""# Topology refiner, {request.dimensions}D

Takes a binary mask or probability map of thin or net-like structures, gives the probability map of the repaired mask.
It never sees the image. Research use only. Not for diagnosis.

## Trained on

{source}
Errors: recipe `{request.recipe}` of `models/topology/perturb.py`.

## Training

`{request.command or "backend.training.topology.train"}`

{state.seconds / 60:.1f} minutes, {state.step} steps, device {request.device} ({os.cpu_count()} cores seen), {weights:,}
weights, seed {request.seed}; loss of the last 200 steps {np.mean(state.losses[-200:]):.4f}.

## Measured results

{measured_on}, damaged by a simulated segmenter that training never uses; means
with 95 % bootstrap intervals over {len(rows_of["refiner.dice"])} masks; foreground
{"8" if request.dimensions == 2 else "26"}-connected. `fillholes` is the hard baseline and also the refiner's own
post-processing: remove pieces below {TIDY["size"]} pixels, fill holes below {TIDY["least"]} pixels or
{TIDY["share"]} of the median hole.

| method | Dice | clDice | abs Δβ₀ | abs Δβ₁ | Betti matching |
|---|---|---|---|---|---|
{rows}

## Limits

Trained on thin and net-like structures a few to a few dozen pixels wide; blobs and organs are out of its scope. It
closes gaps by plausibility: a real interruption (a stenosis, a cut) can be closed as well, so look at every change.

## Licence

{licence}
"""

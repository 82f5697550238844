"""What a trained refiner says of itself: its card, and a sheet of repaired samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.training.topology_measure import TIDY, interval

if TYPE_CHECKING:
    from backend.training.topology import TrainRequest
    from models.fitting import FitState
    from models.topology.refiner import Refiner


def sample_sheet(path: Path, model: Refiner, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
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
    if len(values) == 1:
        return f"{values[0]:.4g}"
    mean, low, high = interval(values)
    return f"{mean:.4g} [{low:.4g}, {high:.4g}]"


def _list_errors(request: TrainRequest) -> str:
    shown = (f"{name} {value}" for name, value in sorted(request.errors.items()))
    return f" with {', '.join(shown)}" if request.errors else ""


KINDS = {2: "vessel trees, membranes, mortar, road nets", 3: "vessel trees, capillary nets"}
LOOKED_AT = """
The phantoms' proportions and edges, and the kinds of damage, were chosen while looking at thirteen masks of TopoMortar
and what its segmenter made of them (001 to 010, 030, 035, 047); variants of the recipe were compared on 001 to 010.
None was trained on."""


def card(
    request: TrainRequest,
    state: FitState,
    count: int,
    held_out: int,
    rows_of: dict[str, list[float]],
    model: Refiner,
    *,
    own: bool,
) -> str:
    """The text of ``CARD.md`` of a refiner trained on ``count`` masks, its owner's ``own`` or phantoms.

    ``held_out`` masks were kept from training, 0 where the training masks themselves were measured; ``rows_of`` are the
    measures of every measured mask.
    """
    measured_on = "Held-out masks" if own else "Held-out phantoms"
    if not held_out:
        measured_on = "The masks of the training itself (too few to hold any out)"
    weights = sum(parameter.numel() for parameter in model.parameters())
    measured = len(rows_of["refiner.dice"])
    averaged = "one mask only" if measured == 1 else f"means\nwith 95 % bootstrap intervals over {measured} masks"
    names = ("dice", "cldice", "b0", "b1", "matching")
    rows = "\n".join(
        f"| {method} | " + " | ".join(_with_interval(rows_of[f"{method}.{name}"]) for name in names) + " |"
        for method in ("upstream", "fillholes", "refiner")
    )
    given = "masks of a folder given by its owner" if request.masks else "masks given by their owner"
    source = (
        f"{count} {request.source or given}."
        if own
        else f"{count} curvilinear phantoms drawn by `models/phantoms/curvilinear.py` ({KINDS[request.dimensions]}), "
        "half of\nthem with uneven edges. No image and no mask of any patient."
        + (LOOKED_AT if request.dimensions == 2 else "")
    )
    licence = "As the masks it was trained on." if own else "Same as the code; phantoms carry no other licence."
    return f"""# Topology refiner, {request.dimensions}D

Takes a binary mask or probability map of thin or net-like structures, gives the probability map of the repaired mask.
It never sees the image. Research use only. Not for diagnosis.

## Trained on

{source}
Errors: recipe `{request.recipe}` of `models/topology/perturb.py`{_list_errors(request)}.
{f"Started from the weights `{request.start}`." if request.start else "Started from scratch."}

## Training

`{request.command or "backend.training.topology.train"}`

{state.seconds / 60:.1f} minutes, {state.step} steps, device {request.device} ({os.cpu_count()} cores seen), {weights:,}
weights, seed {request.seed}; loss of the last 200 steps {np.mean(state.losses[-200:]):.4f}.

## Measured results

{measured_on}, damaged by a simulated segmenter that training never uses; {averaged}; foreground
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

"""Card and sample sheet of an anomaly network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cv2
import numpy as np

from backend.brain_atlas import LICENCE, NOTICE, SOURCE
from backend.training.anomaly_planted import MEASURED, SEVERITIES, Planted, grey, heats_of

if TYPE_CHECKING:
    from backend.training.anomaly import TrainRequest
    from backend.training.anomaly_slices import Slices
    from models.anomaly.network import Restorer
    from models.fitting import FitState

TITLES = {"restorer": "restorer", "autoencoder": "autoencoder (a baseline)", "ddpm": "noise restoration (a baseline)"}
WHAT = {
    "restorer": "Restores windows of axial brain slices to what a healthy brain would show, told how severe a\n"
    "corruption may be. What it changes is a heat-map of what does not look healthy",
    "autoencoder": "Encodes windows of axial brain slices through a narrow middle; what it cannot give back is a\n"
    "heat-map. It stands beside the restorer as a baseline",
    "ddpm": "Takes noise away from windows of axial brain slices, as AnoDDPM with Gaussian noise; what does not come\n"
    "back is a heat-map. It stands beside the restorer as a baseline",
}
SHEET = 6


def card(
    request: TrainRequest,
    state: FitState,
    kept: Slices,
    real: Slices | None,
    each: dict[str, list[float]],
    weights: int,
) -> str:
    """The text of ``CARD.md``."""
    scans = (
        ""
        if real is None
        else f" One crop in ten comes from {len(np.unique(real.patient))} real healthy scans that were given\n"
        f"({len(real)} slices); patients with a lesion mask are never read."
    )
    corruption = (
        "Corrupted by disentangled anomaly generation (`models/anomaly/corruption.py`): boxes, balls, blobs of 2 to 6\n"
        f"mm and {len(kept.shapes)} outlines of phantom lesions, with foreign texture and shifted in intensity.\n"
        "No lesion itself is learned from, and of the families called unseen not even an outline.\n"
        if request.part == "restorer"
        else "Nothing is corrupted, and no lesion is learned from.\n"
    )
    return f"""# Brain anomaly: {TITLES[request.part]}

{WHAT[request.part]}. Research use only. Not for diagnosis.

## Trained on

{len(kept)} axial slices of {len(np.unique(kept.patient))} healthy brain phantoms (`models/phantoms/brain`) in T1, T2,
FLAIR and random contrasts, 1 mm; three in ten scans have slices of 2 to 5 mm.{scans}

{corruption}
Source of the phantoms: {SOURCE}.

## Training

`{request.command or "backend.training.anomaly.train"}`

{state.seconds / 60:.1f} minutes, {state.step} steps of {request.batch} crops of {request.window}² pixels, device
{request.device} ({os.cpu_count()} cores seen), size {request.size}, {weights:,} weights, seed {request.seed}; loss of
the last 200 steps {np.mean(state.losses[-200:]):.5f}.

## Measured results

Average precision of the voxels inside the brain, on {request.validation} phantom persons that no training sees, with
one lesion of every family each; one value for each person and family. Mean and 95 % bootstrap interval. "training" are
families that detectors may know, "unseen" those kept for validation (rings, lines, textures, atrophy, gradients).
Restorations from severities {", ".join(f"{severity:g}" for severity in SEVERITIES[request.part])}.

{_table(each)}

What it is worth on real patients is measured by `python -m tests.benchmarks anomaly`.

## Limits

It knows brains of phantoms, bent out of one average of young adults: whatever else a real brain shows may look
anomalous, and the thresholds kept with the weights hold for phantoms. Skull-stripped scans only. A heat-map says what
is unusual, not what it is; what is not hot may still be ill.

## Licence

Same as the code. {LICENCE}. {NOTICE}
"""


def _table(each: dict[str, list[float]]) -> str:
    from backend.training.topology_measure import interval

    methods = list(dict.fromkeys(key.rpartition(".")[0] for key in each))
    lines = ["| method, families | " + " | ".join(MEASURED) + " |", "|---" * (1 + len(MEASURED)) + "|"]
    for method in sorted(methods, key=lambda name: name.rpartition(", ")[2]):
        cells = [each.get(f"{method}.{sequence}", []) for sequence in MEASURED]
        texts = ["{:.3f} [{:.3f}, {:.3f}]".format(*interval(values)) if values else "" for values in cells]
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def sample_sheet(model: Restorer, planted: Planted) -> bytes:
    """PNG, grey: a row each of some planted lesions; the slice, |x − f| (white at 0.3) and the truth."""
    from models.anomaly.network import SEQUENCES

    ill = np.flatnonzero(planted.truth.any((1, 2)))
    rows = []
    for index in ill[np.linspace(0, len(ill) - 1, min(SHEET, len(ill))).astype(int)]:
        image = planted.images[index]
        heat = heats_of(model, image, SEQUENCES[planted.sequence[index]])[0]
        tiles = [grey(image[len(image) // 2]), np.clip(heat / 0.3, 0, 1), planted.truth[index].astype(np.float32)]
        rows.append(np.hstack([np.rot90(np.rint(255 * tile).astype(np.uint8)) for tile in tiles]))
    done, png = cv2.imencode(".png", np.vstack(rows))
    assert done
    return png.tobytes()

"""What the echo meter and the regressor are worth on phantoms of patients that they have not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from models.echo.meter import Meter
    from models.echo.regressor import Regressor
    from models.phantoms.echo import EchoClip

Done = Callable[[float], None]
FPS, FRAMES = 32.0, 64
SPOILT_SEED = 21


@dataclass(frozen=True)
class Validation:
    """``measures``: name → value; ``truth`` and ``found``: EF in % of every patient, clips as they were drawn."""

    measures: dict[str, float]
    truth: list[float]
    found: list[float]


def held_out(first: int, index: int) -> EchoClip:
    """A clip of two seconds of the ``index``-th held-out patient; EF runs evenly through 8–82 % in a shuffled order."""
    from models.phantoms.echo import clip

    rng = np.random.default_rng([first, index])
    return clip(
        first + index,
        ef=float(8 + 74 * ((index * 0.6180339887498949) % 1)),
        heart_rate=float(rng.uniform(50, 110)),
        frames=FRAMES,
        fps=FPS,
        variant=int(rng.integers(3)),
        start=float(rng.random()),
    )


def spoilt(drawn: EchoClip, index: int) -> np.ndarray:
    """The clip's frames, uint8, with another look than they were drawn with: the stress test of the validation."""
    from models.echo.augment import AugmentConfig, change_look

    changed = change_look(
        drawn.frames.astype(np.float32) / 255, np.random.default_rng([SPOILT_SEED, index]), AugmentConfig()
    )
    return np.round(changed * 255).astype(np.uint8)


def agreement(truth: list[float], found: list[float], prefix: str) -> dict[str, float]:
    """Of two lists of EF in %: R² of ``found`` as a prediction of ``truth``, MAE, bias, slope of the line through them.

    Patients for whom nothing was found count as ``missing`` (a share) and are left out of the others.
    """
    t, f = np.array(truth, float), np.array(found, float)
    known = np.isfinite(f)
    measures = {f"{prefix}.missing": float(1 - known.mean())}
    t, f = t[known], f[known]
    if len(t) < 2:
        return {**measures, **{f"{prefix}.{name}": float("nan") for name in ("r2", "mae", "bias", "slope")}}
    spread = float(((t - t.mean()) ** 2).sum())
    return {
        **measures,
        f"{prefix}.r2": 1 - float(((f - t) ** 2).sum()) / spread,
        f"{prefix}.mae": float(np.abs(f - t).mean()),
        f"{prefix}.bias": float((f - t).mean()),
        f"{prefix}.slope": float(((f - f.mean()) * (t - t.mean())).sum()) / spread,
    }


def validate_meter(model: Meter, first: int, count: int, done: Done | None = None) -> Validation:
    """EF against the truth on clips as drawn (``ef.*``) and spoilt (``spoilt.*``), and Dice of every label as drawn."""
    from models.echo.meter import LABELS, measure

    truth, found, changed = [], [], []
    overlap, total = np.zeros(len(LABELS)), np.zeros(len(LABELS))
    for index in range(count):
        if done:
            done(index / count)
        drawn = held_out(first, index)
        result = measure(model, drawn.frames, drawn.fps, drawn.mm_per_px)
        truth.append(drawn.ef)
        found.append(result.ef)
        changed.append(measure(model, spoilt(drawn, index), drawn.fps, drawn.mm_per_px).ef)
        for label in range(len(LABELS)):
            mine, right = result.labels == label, drawn.labels == label
            overlap[label] += np.count_nonzero(mine & right)
            total[label] += np.count_nonzero(mine) + np.count_nonzero(right)
    dice = {
        f"dice.{name.replace(' ', '_')}": float(2 * overlap[label] / max(total[label], 1))
        for label, name in enumerate(LABELS)
        if label
    }
    return Validation({**agreement(truth, found, "ef"), **agreement(truth, changed, "spoilt"), **dice}, truth, found)


def validate_regressor(model: Regressor, first: int, count: int, done: Done | None = None) -> Validation:
    """EF against the truth on clips as drawn (``ef.*``) and spoilt (``spoilt.*``), median over windows of a second."""
    from models.echo.regressor import estimate

    truth, found, changed = [], [], []
    for index in range(count):
        if done:
            done(index / count)
        drawn = held_out(first, index)
        truth.append(drawn.ef)
        found.append(estimate(model, drawn.frames, drawn.fps).ef)
        changed.append(estimate(model, spoilt(drawn, index), drawn.fps).ef)
    return Validation({**agreement(truth, found, "ef"), **agreement(truth, changed, "spoilt")}, truth, found)

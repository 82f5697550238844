"""Train a refiner from clean masks alone: damage them, ask for the clean ones back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from models.fitting import BatchOf, Callback, FitState, LossOf, Optimisation, fit_batches
from models.topology.perturb import PerturbationConfig, perturb
from models.topology.refiner import Refiner


@dataclass(frozen=True)
class FitConfig:
    """Training settings. ``crop``: side in pixels; ``zoom``: range of the scale augmentation (log-uniform).

    ``cut_out``: share of crops that keep only what lies in a random disc, as a field of view or a lone object would
    leave it: without them a network has never seen empty surroundings.

    ``steps`` is the length that the cosine schedule is laid out for; a time limit stretches or shrinks it as it goes.
    """

    crop: int = 192
    batch: int = 8
    zoom: tuple[float, float] = (0.7, 1.4)
    cut_out: float = 0.1
    learning_rate: float = 2e-3
    warm_up: float = 0.03
    weight_decay: float = 1e-4
    ema: float = 0.995
    dice_weight: float = 0.5
    centreline: float = 0.0
    perturbation: PerturbationConfig = field(default_factory=PerturbationConfig)


def fit(
    model: Refiner,
    masks: Sequence[np.ndarray],
    config: FitConfig | None = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    state: FitState | None = None,
    callback: Callback | None = None,
) -> FitState:
    """Train ``model`` in place on clean bool masks, (H, W) or (D, H, W), and leave the moving average in it.

    Stops after ``minutes`` (all calls together) or ``steps``; the learning rate follows a cosine over whichever is
    given. Each step draws from a generator seeded by ``(seed, step)``, so a resumed run sees what an uninterrupted one
    would. ``callback(step, fraction, loss)`` is called after every step; what it raises stops training and leaves
    ``state`` usable. Raises ``ValueError`` without masks, without a limit, or when every mask is empty.
    """
    config = config or FitConfig()
    return fit_batches(
        model,
        batches(masks, model, config),
        batch_loss(config),
        optimisation(config),
        minutes=minutes,
        steps=steps,
        seed=seed,
        state=state,
        callback=callback,
    )


def batches(masks: Sequence[np.ndarray], model: Refiner, config: FitConfig) -> BatchOf:
    """What draws the batch (damaged, clean) of a step. Raises ``ValueError`` when every mask is empty."""
    masks = [np.asarray(mask, bool) for mask in masks if np.any(mask)]
    if not masks:
        raise ValueError("training needs at least one mask that is not empty")
    least = [least_zoom(mask) for mask in masks]
    return lambda step, rng: make_batch(masks, model.dimensions, model.multiple, rng, config, least)


def batch_loss(config: FitConfig) -> LossOf:
    """The loss of a batch (damaged, clean)."""
    return lambda model, batch: loss_of(model(batch[0]).float(), batch[1], config.dice_weight, config.centreline)


def optimisation(config: FitConfig) -> Optimisation:
    """The part of the settings that any training has."""
    return Optimisation(config.learning_rate, config.warm_up, config.weight_decay, config.ema)


def config_values(config: FitConfig) -> dict[str, Any]:
    """The settings as plain JSON values, for the model card."""
    return asdict(config)


def loss_of(logits: Tensor, clean: Tensor, dice_weight: float, centreline: float = 0.0) -> Tensor:
    """Binary cross-entropy plus ``dice_weight`` × (1 − soft Dice), over (N, 1, …), ``clean`` of 0 and 1.

    The entropy's weight is 1 + ``centreline`` on the centreline of ``clean``.
    """
    weight = 1 + centreline * ridge(clean) if centreline else None
    entropy = F.binary_cross_entropy_with_logits(logits, clean, weight)
    probability = torch.sigmoid(logits)
    axes = tuple(range(1, clean.ndim))
    overlap = 2 * (probability * clean).sum(axes) + 1
    dice = overlap / (probability.sum(axes) + clean.sum(axes) + 1)
    return entropy + dice_weight * (1 - dice.mean())


def ridge(mask: Tensor, most: int = 12) -> Tensor:
    """The centreline of masks of 0 and 1, (N, 1, H, W) or (N, 1, D, H, W): what opening removes, erosion by erosion.

    The morphological skeleton (Lantuéjoul), at most ``most`` erosions deep; of the input's shape, 0 or 1.
    """
    pool = F.max_pool2d if mask.ndim == 4 else F.max_pool3d
    found = torch.zeros_like(mask)
    for _ in range(most):
        eroded = -pool(-mask, 3, 1, 1)
        found = torch.maximum(found, mask - pool(eroded, 3, 1, 1))
        if not eroded.any():
            break
        mask = eroded
    return found.clamp_min(0)


def make_batch(
    masks: Sequence[np.ndarray],
    dimensions: int,
    multiple: int,
    rng: np.random.Generator,
    config: FitConfig,
    least: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """A batch of damaged and clean crops, float32 (N, 1, side, …), side the crop rounded down to ``multiple``.

    ``least``: the smallest zoom of each mask (see :func:`least_zoom`), 0 where not given.
    """
    side = max(multiple, config.crop // multiple * multiple)
    damaged, clean = [], []
    for _ in range(config.batch):
        index = int(rng.integers(len(masks)))
        low, high = config.zoom
        low = min(max(low, least[index] if least else 0.0), max(low, 1.0), high)
        mask = random_crop(masks[index], side, rng, (low, high))
        if rng.random() < config.cut_out:
            mask = np.logical_and(mask, disc(mask.shape, rng))
        clean.append(mask)
        damaged.append(perturb(mask, rng, config.perturbation).soft)
    shape = (config.batch, 1) + (side,) * dimensions
    return (
        torch.from_numpy(np.stack(damaged).reshape(shape)),
        torch.from_numpy(np.stack(clean).astype(np.float32).reshape(shape)),
    )


def disc(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """A random disc (ball in 3D), bool of ``shape``: centre anywhere, radius .2 to .8 of the shortest side."""
    centre = [rng.uniform(0, side) for side in shape]
    squares = sum((axis - c) ** 2 for axis, c in zip(np.ogrid[tuple(slice(n) for n in shape)], centre, strict=True))
    return np.asarray(squares < (rng.uniform(0.2, 0.8) * min(shape)) ** 2)


def least_zoom(mask: np.ndarray, thinnest: float = 3.5) -> float:
    """The zoom at which the lines, or the gaps, of a bool mask are ``thinnest`` pixels wide on average.

    Shrunk further they would break or merge, and a truth that is itself broken teaches that breaks are right.
    """
    sides = [part for part in (mask, ~mask) if part.any() and not part.all()]
    # A strip's mean distance to its edge is a quarter of its width.
    widths = [4.0 * float(ndimage.distance_transform_edt(part)[part].mean()) for part in sides]
    return thinnest / min(widths) if widths else 0.0


def random_crop(mask: np.ndarray, side: int, rng: np.random.Generator, zoom: tuple[float, float]) -> np.ndarray:
    """A crop of ``side`` pixels at a random place, scale, flip and quarter turn; short masks are mirrored outwards."""
    scale = float(np.exp(rng.uniform(*np.log(zoom))))
    wanted = max(8, round(side / scale))
    if min(mask.shape) < wanted:
        mask = np.pad(mask, [(0, max(0, wanted - n)) for n in mask.shape], mode="symmetric")
    corner = [int(rng.integers(n - wanted + 1)) for n in mask.shape]
    crop = mask[tuple(slice(a, a + wanted) for a in corner)]
    if wanted != side:
        if crop.ndim == 2:
            how = cv2.INTER_AREA if wanted > side else cv2.INTER_LINEAR
            crop = cv2.resize(crop.astype(np.float32), (side, side), interpolation=how) > 0.5
        else:
            crop = ndimage.zoom(crop.astype(np.float32), side / wanted, order=1, grid_mode=True, mode="nearest") > 0.5
    for axis in range(crop.ndim):
        if rng.random() < 0.5:
            crop = np.flip(crop, axis)
    return np.ascontiguousarray(np.transpose(crop, rng.permutation(crop.ndim)))

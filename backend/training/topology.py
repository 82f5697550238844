"""The recipe of the topology refiners: read clean masks (or draw phantoms), fit, validate, write weights and a card.

The shipped weights come from this recipe with its defaults; their cards give the exact command. A person's own refiner
is the same call with a folder of masks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.training.recipe import SAMPLES, Progress, TrainReport, Watch, finish, fit_resumably
from backend.training.topology_card import card, sample_sheet
from backend.training.topology_errors import perturbation_config
from backend.training.topology_masks import NOTHING, read_masks
from backend.training.topology_measure import TIDY, interval, measures, validate, validate_each
from models.phantoms import curvilinear, segmenter

if TYPE_CHECKING:
    from models.topology.perturb import PerturbationConfig
    from models.topology.refiner import Refiner

__all__ = [
    "TIDY",
    "WIDTHS",
    "TrainRequest",
    "interval",
    "measures",
    "read_masks",
    "train",
    "validate",
    "validate_each",
    "validation_set",
]

PHANTOM_SEEDS = {"train": 0, "validation": 100_000}


@dataclass(frozen=True)
class TrainRequest:
    """What to train. ``minutes`` counts all runs of a resumed training together.

    ``masks``: folder of clean masks, ``None`` for phantoms; ``out``: folder that gets the weights and the checkpoint;
    ``start``: name of the weights to go on from, '' for a network that knows nothing; ``recipe``: ``"clustered"`` or
    ``"polynomial"``; ``errors``: further settings of ``models.topology.perturb.PerturbationConfig`` that differ from
    its defaults; ``phantoms``: how many are drawn; ``source``: what the card calls masks that were given, '' for masks
    of their owner.
    """

    out: Path
    minutes: float = 20.0
    masks: Path | None = None
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    dimensions: int = 2
    start: str = ""
    recipe: str = "clustered"
    errors: dict[str, Any] = field(default_factory=dict)
    phantoms: int = 400
    size: int = 512
    command: str = ""
    source: str = ""


def train(
    request: TrainRequest,
    *,
    masks: Sequence[np.ndarray] | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> TrainReport:
    """Train a refiner and write ``model.safetensors``, ``config.json``, ``CARD.md`` and a sample sheet to ``out``.

    ``masks``: clean bool masks, (H, W) or (D, H, W), in place of a folder. ``progress(fraction, note)`` may raise to
    stop; the checkpoint stays and a later call goes on from it. ``watch(phase, fraction, state)`` sees more:
    after every step (``"fit"``) and before every mask that is measured at the end (``"measure"``); it may raise too.
    Raises ``UserError`` when the folder holds no usable mask, or the request cannot be met.
    """
    import torch

    from models.topology.fit import FitConfig, batch_loss, batches, optimisation

    perturbation = _check(request)
    own = masks is not None or request.masks is not None
    masks, held_out = _masks(request, masks, progress)
    torch.manual_seed(request.seed)
    model, start_sha256 = _first(request)
    model.to(request.device)
    request.out.mkdir(parents=True, exist_ok=True)
    config = FitConfig(
        crop=192 if request.dimensions == 2 else 64,
        batch=8 if request.dimensions == 2 else 2,
        zoom=ZOOM_OWN if own else ZOOM_PHANTOMS[request.dimensions],
        centreline=CENTRELINE[request.dimensions],
        perturbation=perturbation,
    )
    state = fit_resumably(
        model,
        batches(masks, model, config),
        batch_loss(config),
        out=request.out,
        minutes=request.minutes,
        seed=request.seed,
        resume=request.resume,
        described=_described(request, masks, start_sha256),
        config=optimisation(config),
        progress=progress,
        watch=watch,
    )
    each = validate_each(model, held_out, lambda done: watch("measure", done, state) if watch else None)
    kept_out = 0 if any(clean is mask for clean, _ in held_out for mask in masks) else len(held_out)
    sample_sheet(request.out / SAMPLES, model, held_out)
    return finish(
        request.out,
        model,
        {"class": "models.topology.refiner:Refiner", "arguments": model.arguments},
        card(request, state, len(masks), kept_out, each, model, own=own),
        state,
        learnt_from=len(masks),
        each=each,
        held_out=kept_out,
    )


WIDTHS: dict[int, tuple[int, ...]] = {2: (16, 32, 64, 96, 128), 3: (16, 32, 64, 96)}
ZOOM_OWN = (0.4, 1.4)
# Phantoms stand for structures of any calibre; a person's own masks have theirs. Tubes in a volume are a few elements
# wide: shrunk, they break, and a truth in pieces teaches that pieces are right.
ZOOM_PHANTOMS = {2: (0.45, 2.0), 3: (0.95, 1.4)}
# Most errors in a volume are at edges: a tube is nearly all edge, and its breaks would hardly count.
CENTRELINE = {2: 0.0, 3: 6.0}


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


def _masks(
    request: TrainRequest, given: Sequence[np.ndarray] | None, progress: Progress | None
) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    if given is None and request.masks is not None:
        given = read_masks(request.masks, request.dimensions)
    if given is not None:
        masks = [np.asarray(mask, bool) for mask in given if np.any(mask)]
        if not masks:
            raise NOTHING
        # The last quarter, ten at most, is held out when there are enough; a few masks are all needed for training.
        cut = len(masks) - max(1, min(10, len(masks) // 4)) if len(masks) >= 5 else len(masks)
        held_out = masks[cut:] or masks
        return masks[:cut], [(mask, segmenter.simulate(mask, i, difficulty=0.8)) for i, mask in enumerate(held_out)]
    kinds = list(curvilinear.KINDS if request.dimensions == 2 else curvilinear.KINDS_3D)
    # Tubes are drawn in proportion to the side: volumes of several sides hold several calibres, none of them resampled.
    sides = (request.size,) if request.dimensions == 2 else (64, 72, 80, 96, 128)
    masks = []
    for index in range(request.phantoms):
        mask = curvilinear.sample(kinds[index % len(kinds)], (sides[index % len(sides)],) * request.dimensions, index)
        # Half keep their drawn edges, half get edges as uneven as real masks have.
        masks.append(curvilinear.weathered(mask, index) if index // len(kinds) % 2 else mask)
        if progress and index % 10 == 0:
            progress(0.0, f"drawing phantom {index + 1} of {request.phantoms}")
    return masks, validation_set(request.dimensions)


def _check(request: TrainRequest) -> PerturbationConfig:
    """The errors to train with, or a ``UserError`` where the request cannot be met."""
    if request.dimensions not in WIDTHS:
        raise UserError(f"There is no refiner of {request.dimensions} dimensions.", what_to_do="Choose 2 or 3.")
    if request.minutes <= 0 or (request.masks is None and request.phantoms < 1):
        raise UserError("Training needs time and something to train on.", what_to_do="Give numbers above zero.")
    return perturbation_config(request.recipe, request.errors)


def _first(request: TrainRequest) -> tuple[Refiner, str]:
    """The network before the first step, and the hash of the weights it starts from ('' without any)."""
    from models.topology.refiner import Refiner

    if not request.start:
        return Refiner(request.dimensions, WIDTHS[request.dimensions]), ""
    from safetensors.torch import load

    from backend.settings import get_settings
    from backend.weights import Weights

    weight = Weights(get_settings()).find(request.start)
    arguments = weight.config.get("arguments", {})
    if arguments.get("dimensions", 2) != request.dimensions:
        raise UserError(
            f"The weights {request.start!r} are not for {request.dimensions}D masks.",
            what_to_do="Start from others, or from scratch.",
        )
    model = Refiner(**arguments)
    model.load_state_dict(load(weight.read()))
    return model, weight.sha256


def _described(request: TrainRequest, masks: list[np.ndarray], start_sha256: str) -> dict[str, Any]:
    """What must be equal for a checkpoint to be continued."""
    digest = hashlib.sha256()
    for mask in masks:
        digest.update(repr(mask.shape).encode() + np.packbits(mask).tobytes())
    described: dict[str, Any] = {
        "masks": digest.hexdigest(),
        "seed": request.seed,
        "dimensions": request.dimensions,
        "recipe": request.recipe,
        "widths": list(WIDTHS[request.dimensions]),
    }
    # Left out where they are not used, so that checkpoints from before there was such a choice stay good.
    if start_sha256:
        described["start"] = start_sha256
    if request.errors:
        described["errors"] = json.loads(json.dumps(request.errors, sort_keys=True))
    return described

"""The recipe of the anomaly networks: ``python -m backend train anomaly part=restorer --minutes 100``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from backend.errors import UserError
from backend.training.anomaly_card import card, sample_sheet
from backend.training.anomaly_planted import PlantedPlan, draw_planted, grey, measure
from backend.training.anomaly_slices import SIDES, Plan, Slices, draw_slices, library_of
from backend.training.recipe import SAMPLES, Progress, TrainReport, Watch, finish, fit_resumably

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.anomaly.corruption import DagConfig
    from models.phantoms.brain import Atlas

Part = Literal["restorer", "autoencoder", "ddpm"]
PARTS: tuple[Part, ...] = ("restorer", "autoencoder", "ddpm")
UNCHANGED = 0.08
"""Share of crops without a corruption; half of them are told of a severity nevertheless, as a healthy scan will be."""
UNNAMED = 0.1
"""Share of crops whose contrast the network is not told."""
REAL = 0.1
"""Share of crops from real scans, where there are any."""


@dataclass(frozen=True)
class TrainRequest:
    """What to train. ``minutes`` counts all runs of a resumed training together, without drawing the slices.

    ``part``: which of :data:`PARTS`; ``data``: folder of real healthy scans that join the phantoms, see
    :func:`backend.training.anomaly_scans.read_scans`; ``slices``: file that keeps what is drawn, shared by all parts
    ('' for one in ``out``); ``patients`` and ``positions`` of phantoms; ``neighbours``: slices on either side that the
    restorer also sees; ``anomalies``: most corruptions of a crop (the paper has 1; a window of a patient often holds
    several); ``window``: side of a crop; ``batch``: crops a step; ``size``: "small" or "large"; ``validation``:
    held-out phantoms that are measured at the end.
    """

    out: Path
    part: Part = "restorer"
    minutes: float = 100.0
    data: Path | None = None
    slices: str = ""
    patients: int = 300
    positions: int = 15
    neighbours: int = 0
    anomalies: int = 3
    window: int = 128
    batch: int = 16
    size: str = "small"
    validation: int = 4
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    command: str = ""


def default_name(request: TrainRequest) -> str:
    """Name of the folder among one's own weights where nobody chooses one: that of the part, if such are absent."""
    from backend.settings import get_settings
    from backend.weights import Weights

    try:
        Weights(get_settings()).find(f"anomaly/{request.part}")
    except UserError:
        return request.part
    return f"trained-{request.part}"


def train(
    request: TrainRequest,
    *,
    progress: Progress | None = None,
    watch: Watch | None = None,
    atlas: Atlas | None = None,
    sides: tuple[int, int] = SIDES,
) -> TrainReport:
    """Train one network and write ``model.safetensors``, ``config.json``, ``CARD.md`` and a sample sheet.

    ``atlas``: another than that of the pack; ``sides``: of the slices that its brains fit in. ``progress`` and
    ``watch`` as of :func:`backend.training.recipe.fit_resumably`; what they raise while it is measured also leaves the
    checkpoint. Raises ``UserError`` when the request cannot be met.
    """
    import torch

    from models.anomaly.network import SIZES, Restorer
    from models.fitting import Optimisation

    _check(request)
    torch.manual_seed(request.seed)
    size = SIZES[request.size]
    model = Restorer(request.part, **size, neighbours=request.neighbours)
    if request.window % model.factor:
        raise UserError(
            f"A window of {request.window} pixels does not fit this network.",
            what_to_do=f"Choose a multiple of {model.factor}.",
        )
    kept, real = load_slices(request, atlas, progress, sides)
    model.to(request.device)
    library = library_of(kept.shapes)

    def batch_of(step: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return draw_batch(kept, real, request, rng, library)

    state = fit_resumably(
        model,
        batch_of,
        restoration_loss,
        out=request.out,
        minutes=request.minutes,
        seed=request.seed,
        resume=request.resume,
        described={
            "kind": request.part,
            "seed": request.seed,
            "batch": request.batch,
            "window": request.window,
            "anomalies": request.anomalies,
            "arguments": model.arguments,
            "slices": hashlib.sha256(kept.sequence.tobytes() + kept.images[::97].tobytes()).hexdigest(),
            "real": 0 if real is None else len(real),
        },
        config=Optimisation(learning_rate=1e-3, ema=0.998),
        progress=progress,
        watch=watch,
    )
    plan = PlantedPlan(request.validation, neighbours=request.neighbours, sides=sides)
    planted = draw_planted(_beside(request, "planted.npz"), plan, atlas=atlas)

    def measuring(fraction: float) -> None:
        if progress:
            progress(1.0, f"measuring, {fraction:.0%}")
        if watch:
            watch("measure", fraction, state)

    each, healthy = measure(model, planted, callback=measuring)
    report = finish(
        request.out,
        model,
        {
            "arguments": model.arguments,
            "window": request.window,
            "healthy": healthy,
            "steps": state.step,
            "command": request.command,
        },
        card(request, state, kept, real, each, sum(parameter.numel() for parameter in model.parameters())),
        state,
        learnt_from=len(np.unique(kept.patient)) + (0 if real is None else len(np.unique(real.patient))),
        each=each,
        held_out=request.validation,
    )
    (request.out / SAMPLES).write_bytes(sample_sheet(model, planted))
    return report


def load_slices(
    request: TrainRequest, atlas: Atlas | None, progress: Progress | None, sides: tuple[int, int] = SIDES
) -> tuple[Slices, Slices | None]:
    """Slices of phantoms, drawn where they are not kept, and of real scans where a folder is given."""

    def before(fraction: float, note: str) -> None:
        if progress:
            progress(0.0, note)

    plan = Plan(request.patients, request.positions, neighbours=request.neighbours, sides=sides)
    real = None
    if request.data is not None:
        from backend.training.anomaly_scans import read_scans

        real = read_scans(request.data, request.neighbours, plan.sides)
    return draw_slices(_beside(request, "slices.npz"), plan, atlas=atlas, progress=before), real


def draw_batch(
    kept: Slices, real: Slices | None, request: TrainRequest, rng: np.random.Generator, library: list[np.ndarray]
) -> tuple[Tensor, ...]:
    """Windows (N, C, W, W), steps (N,), sequences (N,), healthy middles (N, 1, W, W) and their brain masks.

    The restorer gets corrupted windows and how severe that is; the denoiser noisy ones; the autoencoder healthy ones.
    """
    import torch

    from models.anomaly.corruption import DagConfig
    from models.anomaly.degree import STEPS, severities, step_of
    from models.anomaly.network import LOWEST_SIGMA, UNKNOWN

    config = DagConfig() if library else DagConfig(shapes=("box", "ball", "blob"))
    count, channels, side = request.batch, kept.images.shape[1], request.window
    windows = np.zeros((count, channels, side, side), np.float32)
    steps, numbers = np.zeros(count, np.int64), np.zeros(count, np.int64)
    healthy, masks = np.zeros((count, 1, side, side), np.float32), np.zeros((count, 1, side, side), np.float32)
    for item in range(count):
        source = real if real is not None and rng.random() < REAL else kept
        index = int(rng.integers(len(source)))
        clean, inside = draw_crop(source.images[index], side, rng)
        made = clean
        if request.part == "restorer":
            foreign, _ = draw_crop(kept.images[int(rng.integers(len(kept)))], side, rng)
            made, severity = corrupted(clean, inside, foreign, request.anomalies, rng, config, library)
            steps[item] = step_of(severity) if severity or rng.random() < 0.5 else rng.integers(STEPS)
        elif request.part == "ddpm":
            steps[item] = rng.integers(STEPS)
            sigma = max(float(severities()[steps[item]]), LOWEST_SIGMA)
            made = clean + np.float32(sigma) * rng.standard_normal(clean.shape, np.float32)
        windows[item], healthy[item, 0], masks[item, 0] = made, clean[channels // 2], inside[channels // 2]
        numbers[item] = UNKNOWN if rng.random() < UNNAMED else source.sequence[index]
    return tuple(torch.from_numpy(part) for part in (windows, steps, numbers, healthy, masks))


def draw_crop(image: np.ndarray, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a stack uint8 [C, H, W] about a random place of the brain, changed as scanners differ.

    Float32 in 0…1 and its brain mask, bool, both [C, side, side]. It may be mirrored, brighter, of more contrast,
    blurred or noisy: all that is healthy.
    """
    middle = len(image) // 2
    inside = np.flatnonzero(image[middle])
    place = np.array(np.unravel_index(inside[rng.integers(len(inside))], image.shape[1:]))
    low = np.clip(place - side // 2, 0, np.maximum(np.array(image.shape[1:]) - side, 0))
    crop = image[:, low[0] : low[0] + side, low[1] : low[1] + side]
    if crop.shape[1:] != (side, side):
        crop = np.pad(crop, [(0, 0), *((0, side - length) for length in crop.shape[1:])])
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    mask = crop > 0
    values = grey(crop)
    if rng.random() < 0.25:
        values = ndimage.gaussian_filter(values, (0, *rng.uniform(0, 0.9, 2)))
    values = values ** np.exp(rng.normal(0, 0.12)) * rng.uniform(0.85, 1.15) + rng.uniform(-0.04, 0.04)
    if rng.random() < 0.25:
        values = values + rng.standard_normal(values.shape, np.float32) * np.float32(rng.uniform(0, 0.03))
    return np.where(mask, np.clip(values, 0, 1), 0).astype(np.float32), mask


def corrupted(
    clean: np.ndarray,
    inside: np.ndarray,
    foreign: np.ndarray,
    most: int,
    rng: np.random.Generator,
    config: DagConfig,
    library: list[np.ndarray],
) -> tuple[np.ndarray, float]:
    """``clean`` float32 [C, H, W] with one to ``most`` corruptions, and the largest severity; 0 where it is unchanged.

    Neighbouring slices get the same corruption at the same place, as lesions go through slices.
    """
    from models.anomaly.corruption import corrupt

    if rng.random() < UNCHANGED:
        return clean, 0.0
    made, severity = clean.copy(), 0.0
    middle = len(clean) // 2
    for _ in range(int(rng.integers(1, most + 1))):
        seed = int(rng.integers(2**63))
        for layer in range(len(clean)):
            same = np.random.default_rng(seed)
            one = corrupt(made[layer], inside[middle], foreign[layer], same, config, library=library)
            made[layer] = np.where(inside[layer], one.image, 0)
            if layer == middle:
                severity = max(severity, one.severity)
    return made, severity


def restoration_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Mean squared error of the healthy slice inside the brain; of the denoiser weighted so that all levels count."""
    from models.anomaly.network import SPREAD, noise_of

    windows, steps, numbers, healthy, masks = batch
    error = (model(windows, steps, numbers).float() - healthy).square() * masks
    by_item: Tensor = error.flatten(1).sum(1) / masks.flatten(1).sum(1).clamp(min=1)
    if model.kind == "ddpm":
        sigma = noise_of(steps)
        by_item = by_item * (sigma**2 + SPREAD**2) / (sigma * SPREAD) ** 2
    return by_item.mean()


def _beside(request: TrainRequest, name: str) -> Path:
    """Where drawn material is kept; lesions lie beside the slices, named after them."""
    if not request.slices:
        return request.out / name
    chosen = Path(request.slices)
    return chosen if name == "slices.npz" else chosen.with_name(f"{chosen.stem}-{name}")


def _check(request: TrainRequest) -> None:
    from models.anomaly.network import SIZES

    if request.part not in PARTS:
        raise UserError(f"The anomaly system has no part {request.part!r}.", what_to_do=f"Choose {', '.join(PARTS)}.")
    numbers = (request.minutes, request.batch, request.patients, request.positions, request.validation)
    if min(numbers) <= 0 or request.anomalies < 1 or request.neighbours < 0 or request.size not in SIZES:
        raise UserError(
            "This training cannot be.",
            "It needs time, a batch, patients, positions, anomalies and patients to measure, and a known size.",
            f"Give numbers above zero, and one of the sizes {', '.join(SIZES)}.",
        )
    if request.neighbours and request.part != "restorer":
        raise UserError(
            f"The {request.part} sees single slices only.", what_to_do="Leave neighbours at 0, or train the restorer."
        )

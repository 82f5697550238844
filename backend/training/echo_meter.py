"""The recipes of the echo meter and of the regressor beside it: draw phantoms, fit, validate, write weights and a card.

Both learn from phantoms that are drawn as training goes, changed far beyond how they were drawn
(``models/echo/augment.py``), and never see the generator. Their patients are none of those the generator learns from or
is measured on, and those of the validation are others again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from backend.errors import UserError
from backend.training.echo_meter_card import meter_card, meter_sheet, regressor_card, regressor_sheet
from backend.training.echo_meter_validate import validate_meter, validate_regressor
from backend.training.recipe import SAMPLES, Progress, TrainReport, Watch, finish, fit_resumably

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.phantoms.echo import EchoClip

TRAIN_PATIENTS, VALIDATION_PATIENTS = 1_000_000, 2_000_000
"""Seeds from which the patients of the training and of the validation are counted."""
METER_WIDTHS: tuple[int, ...] = (24, 48, 72, 96)
REGRESSOR_WIDTHS: tuple[int, ...] = (32, 48, 64)
METER_FRAMES, REGRESSOR_FRAMES = 4, 24
"""Frames drawn of each patient, in one."""

Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class MeterRequest:
    """What to train, for either network.

    ``minutes`` counts all runs of a resumed training together; ``out``: folder that gets the weights and the
    checkpoint; ``batch``: frames or clips a step, 0 for the network's own; ``validation``: held-out patients measured
    at the end; ``command``: what the card names as the way to make it again.
    """

    out: Path
    minutes: float = 20.0
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    batch: int = 0
    validation: int = 60
    command: str = ""


def train_meter(request: MeterRequest, *, progress: Progress | None = None, watch: Watch | None = None) -> TrainReport:
    """Train the segmentation net and write ``model.safetensors``, ``config.json``, ``CARD.md`` and a sample sheet.

    ``progress(fraction, note)`` may raise to stop; the checkpoint stays and a later call goes on from it.
    ``watch(phase, fraction, state)`` sees more: after every step (``"fit"``) and before every patient measured at the
    end (``"measure"``); it may raise too. Raises ``UserError`` when the request cannot be met.
    """
    import torch

    from models.echo.augment import augment
    from models.echo.losses import outline_loss
    from models.echo.meter import Meter

    _check(request)
    size = request.batch or 16
    pool = Pool(draw_frames, kept=3000)

    def batch_of(step: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        frames, labels = [], []
        for _ in range(size):
            drawn = pool.pick(step, rng)
            which = int(rng.integers(len(drawn.frames)))
            changed, truth = augment(drawn.frames[which : which + 1], drawn.labels[which : which + 1], rng)
            assert truth is not None
            frames.append(changed)
            labels.append(truth[0])
        return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(labels).astype(np.int64))

    torch.manual_seed(request.seed)
    return _train(
        request,
        _Kind("meter2d", "models.echo.meter:Meter", meter_card, meter_sheet, validate_meter),
        Meter(METER_WIDTHS),
        batch_of,
        outline_loss,
        pool,
        progress,
        watch,
    )


def train_regressor(
    request: MeterRequest, *, progress: Progress | None = None, watch: Watch | None = None
) -> TrainReport:
    """Train the network that tells the ejection fraction from a clip as a whole. See :func:`train_meter`."""
    import torch

    from models.echo.augment import augment
    from models.echo.losses import ejection_loss
    from models.echo.regressor import FRAMES, Regressor

    _check(request)
    size = request.batch or 8
    pool = Pool(draw_clip, kept=900, every=2)

    def batch_of(step: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        clips, efs, volumes = [], [], []
        for _ in range(size):
            drawn = pool.pick(step, rng)
            start = int(rng.integers(len(drawn.frames) - FRAMES + 1))
            changed, _ = augment(drawn.frames[start : start + FRAMES], None, rng)
            clips.append(changed[None])
            efs.append(drawn.ef)
            volumes.append(drawn.volumes[start : start + FRAMES])
        targets = np.array(efs, np.float32), np.stack(volumes)
        return torch.from_numpy(np.stack(clips)), *(torch.from_numpy(target) for target in targets)

    torch.manual_seed(request.seed)
    return _train(
        request,
        _Kind("regressor", "models.echo.regressor:Regressor", regressor_card, regressor_sheet, validate_regressor),
        Regressor(REGRESSOR_WIDTHS),
        batch_of,
        ejection_loss,
        pool,
        progress,
        watch,
    )


@dataclass(frozen=True)
class Frames:
    """Some frames of a patient over one beat, and their labels, both uint8 [T, H, W]."""

    frames: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Clip:
    """A clip at the regressor's rate: frames uint8 [T, H, W], EF in %, volumes [T] in shares of end-diastole."""

    frames: np.ndarray
    ef: float
    volumes: np.ndarray


def draw_frames(index: int) -> Frames:
    """The ``index``-th patient of the training: a few frames spread over one beat."""
    rng = np.random.default_rng([11, index])
    rate = 60.0
    drawn = _phantom(TRAIN_PATIENTS + index, rng, METER_FRAMES, METER_FRAMES * rate / 60, rate)
    return Frames(drawn.frames, drawn.labels)


def draw_clip(index: int) -> Clip:
    """The ``index``-th patient of the training: one and a half seconds."""
    from models.echo.regressor import FPS

    rng = np.random.default_rng([12, index])
    drawn = _phantom(TRAIN_PATIENTS + index, rng, REGRESSOR_FRAMES, FPS, float(rng.uniform(45, 130)))
    # End-diastole may fall between frames; the largest volume of a beat is the same in all of them.
    full = float(drawn.volumes_ml.max())
    return Clip(drawn.frames, drawn.ef, (drawn.volumes_ml / full).astype(np.float32))


def _phantom(patient: int, rng: np.random.Generator, frames: int, fps: float, heart_rate: float) -> EchoClip:
    from models.phantoms.echo import clip

    return clip(
        patient,
        ef=float(rng.uniform(6, 84)),
        heart_rate=heart_rate,
        frames=frames,
        fps=fps,
        variant=int(rng.integers(3)),
        start=float(rng.random()),
    )


class Pool(Generic[Drawn]):
    """Patients that training picks from: a window that moves on as steps go, drawn when first picked.

    What a step may pick depends on the step alone, so a resumed training picks what an uninterrupted one would.
    ``kept``: width of the window; ``first``: patients at step 0; ``every``: steps until one more is added.
    """

    def __init__(self, draw: Callable[[int], Drawn], kept: int, first: int = 48, every: int = 1) -> None:
        self._draw, self._kept, self._first, self._every = draw, kept, first, every
        self._drawn: OrderedDict[int, Drawn] = OrderedDict()

    def size(self, step: int) -> int:
        """How many patients have entered the window until ``step``."""
        return self._first + step // self._every

    def pick(self, step: int, rng: np.random.Generator) -> Drawn:
        """One of the window's patients."""
        entered = self.size(step)
        index = int(rng.integers(max(0, entered - self._kept), entered))
        if index not in self._drawn:
            self._drawn[index] = self._draw(index)
            while len(self._drawn) > self._kept:
                self._drawn.pop(min(self._drawn))
        return self._drawn[index]


@dataclass(frozen=True)
class _Kind:
    name: str
    class_: str
    card: Callable[..., str]
    sheet: Callable[..., None]
    validate: Callable[..., Any]


def _check(request: MeterRequest) -> None:
    if request.minutes <= 0 or request.validation < 2 or request.batch < 0:
        raise UserError(
            "This training cannot be.",
            "It needs time, at least two patients to be validated on, and a batch that is not negative.",
            "Give numbers above zero.",
        )


def _train(
    request: MeterRequest,
    kind: _Kind,
    model: Any,
    batch_of: Callable[[int, np.random.Generator], tuple[Tensor, ...]],
    loss_of: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    pool: Pool[Any],
    progress: Progress | None,
    watch: Watch | None,
) -> TrainReport:
    model.to(request.device)
    state = fit_resumably(
        model,
        batch_of,
        loss_of,
        out=request.out,
        minutes=request.minutes,
        seed=request.seed,
        resume=request.resume,
        described={
            "kind": kind.name,
            "seed": request.seed,
            "batch": request.batch,
            "arguments": {key: list(v) if isinstance(v, tuple) else v for key, v in model.arguments.items()},
        },
        progress=progress,
        watch=watch,
    )
    result = kind.validate(
        model,
        VALIDATION_PATIENTS,
        request.validation,
        lambda done: watch("measure", done, state) if watch else None,
    )
    patients = pool.size(state.step)
    kind.sheet(request.out / SAMPLES, model, result, VALIDATION_PATIENTS)
    return finish(
        request.out,
        model,
        {"class": kind.class_, "arguments": model.arguments},
        kind.card(request, state, patients, result, model),
        state,
        learnt_from=patients,
        each={"ef.truth": result.truth, "ef.found": result.found},
        held_out=len(result.truth),
        validation=result.measures,
    )

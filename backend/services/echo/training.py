"""Train a network of the generator of one's own on a folder of clips, as a job; what the page gives and gets.

Nothing heavy is imported on top; the work is in ``training_run``, the look at the folder in ``training_folder``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backend.jobs.contract import Action, JobContext
from backend.services.echo.needs import AUTOENCODER
from backend.services.own_weights import OwnWeights

OwnPart = Literal["autoencoder", "image", "video"]
Size = Literal["small", "large"]

MOST_MINUTES = 7 * 24 * 60.0
PHANTOM_CLIPS = (50, 10_000)
OWN = OwnWeights("echo", "network", "my-hearts")
METHODS: dict[str, tuple[str, str]] = {
    "own": ("Your network", "What this training made."),
    "shipped": ("Default", "The weights that the page takes where nobody chooses others, on the same clips."),
    "baseline": ("Baseline", "The best guess without a network; for an autoencoder, the best linear code of its size."),
}


@dataclass(frozen=True)
class TrainEchoRequest:
    """Train one part of the generator and keep it under ``echo/<name>``.

    ``folder`` is a folder of clips with their ejection fractions (see :mod:`backend.media.echonet`) inside one of those
    that the setting ``data_roots`` allows, told from there on; '' takes phantoms, ``clips`` of them. ``minutes`` counts
    all runs of a training that was stopped and went on. ``autoencoder`` names the code that an image or video model
    works in and then belongs to. With ``resume`` a stopped training of that name goes on.
    """

    name: str
    part: OwnPart = "video"
    folder: str = ""
    minutes: float = 60.0
    size: Size = "small"
    autoencoder: str = AUTOENCODER
    clips: int = 400
    resume: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Interval:
    """Mean over what was held out; ``low`` and ``high`` end its 95 % bootstrap interval, ``None`` without one."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class MeasuredRow:
    """What was measured (noise level, or quality of the round trip) and its values by key of :data:`METHODS`."""

    title: str
    values: dict[str, Interval]


@dataclass(frozen=True)
class TrainEchoResult:
    """What came of a training. ``sheet`` ('' without one), ``archive``, ``curve`` and ``table`` are artifact ids.

    ``weights`` is the name to load the network by, ``sha256`` that of its file. ``held_out`` clips (of an autoencoder:
    frames) took no part in training. ``rows`` hold weighted squared errors by noise level, 1 without knowledge, or the
    PSNR of an autoencoder in dB. ``losses`` is the loss along the way in at most 200 equal stretches of steps;
    ``notes`` say what was read and how.
    """

    weights: str
    sha256: str
    part: OwnPart
    steps: int
    minutes: float
    held_out: int
    rows: tuple[MeasuredRow, ...]
    losses: tuple[float, ...]
    notes: tuple[str, ...]
    card: str
    sheet: str
    archive: str
    curve: str
    table: str


def train(request: TrainEchoRequest, ctx: JobContext) -> TrainEchoResult:
    """Train a part of the generator, measure it, and keep its weights. A cancelled training can go on later."""
    from backend.services.echo.training_run import run_training

    return run_training(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="echo",
        name="train",
        run=train,
        request=TrainEchoRequest,
        result=TrainEchoResult,
        summary="Train a part of the generator of your own on a folder of clips with their ejection fractions.",
    ),
)

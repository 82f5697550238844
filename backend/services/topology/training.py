"""Train a refiner of one's own on clean masks, as a job; what the page and the command line give and get.

Nothing heavy is imported on top; the work is in ``training_run``, the reading of masks in ``training_masks``, the list
of what is on this machine in ``training_list``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backend.jobs.contract import Action, JobContext
from backend.services.own_weights import OwnWeights

FEWEST = 3  # masks; two would show a network their own accidents
MOST_MINUTES = 24 * 60.0
METHODS = {
    "upstream": (
        "Segmenter (simulated)",
        "The clean masks, damaged by a segmenter that training never sees.",
    ),
    "fillholes": ("Simple repair", "Small pieces removed and small holes filled, without any network."),
    "refiner": ("Your refiner", "The refiner, then the same simple repair."),
}
MEASURES = {
    "dice": ("Dice", "Overlap with the clean mask, 0 to 1; 1 is best."),
    "cldice": ("clDice", "Overlap along the centre lines, 0 to 1; 1 is best."),
    "b0": ("|Δβ₀|", "Error in the number of pieces; 0 is best."),
    "b1": ("|Δβ₁|", "Error in the number of holes (tunnels in volumes); 0 is best."),
    "matching": ("Betti matching", "Pieces and holes without a counterpart in the clean mask; 0 is best."),
}
OWN = OwnWeights("topology", "refiner", "my-vessels")


@dataclass(frozen=True)
class TrainRefinerRequest:
    """Train a refiner on clean masks and keep it under ``topology/<name>``.

    ``masks`` are artifact ids of uploads, each one clean binary mask, all in two dimensions or all in three.
    ``minutes`` counts all runs of a training that was stopped and went on. ``start`` names weights to go on from, ''
    for from scratch. ``recipe`` and ``errors`` say what damage is learnt from (``models.topology.perturb``), ``errors``
    holding what differs from the defaults. With ``resume`` a stopped training of that name goes on.
    """

    masks: tuple[str, ...]
    name: str
    minutes: float = 4.0
    start: str = ""
    recipe: str = "clustered"
    errors: dict[str, Any] = field(default_factory=dict)
    resume: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """Mean over the measured masks; ``low`` and ``high`` end its 95 % bootstrap interval, ``None`` for one mask."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ValidationRow:
    """One method (a key of :data:`METHODS`) and its measures (keys of :data:`MEASURES`)."""

    method: str
    measures: dict[str, Measured]


@dataclass(frozen=True)
class TrainRefinerResult:
    """What came of a training. ``sheet``, ``archive``, ``curve`` and ``table`` are artifact ids.

    ``weights`` is the name to load the refiner by, ``sha256`` that of its file. ``masks`` were trained on, ``measured``
    were measured, of which ``held_out`` never took part in training (0 when there were too few). ``losses`` is the
    loss along the way in at most 200 equal stretches of steps; ``notes`` say how the masks were read.
    """

    weights: str
    sha256: str
    dimensions: int
    masks: int
    measured: int
    held_out: int
    steps: int
    minutes: float
    rows: tuple[ValidationRow, ...]
    losses: tuple[float, ...]
    notes: tuple[str, ...]
    card: str
    sheet: str
    archive: str
    curve: str
    table: str


def refiner_name(text: str) -> str:
    """The name of a refiner as it is kept: lower case letters, digits, - and _. Raises ``UserError`` for any other."""
    return OWN.name(text)


def train(request: TrainRefinerRequest, ctx: JobContext) -> TrainRefinerResult:
    """Train a refiner, measure it, and keep its weights. A cancelled training can go on later."""
    from backend.services.topology.training_run import run_training

    return run_training(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="topology",
        name="train",
        run=train,
        request=TrainRefinerRequest,
        result=TrainRefinerResult,
        summary="Train a refiner of your own on clean masks.",
    ),
)
